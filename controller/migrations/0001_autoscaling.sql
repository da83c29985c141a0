CREATE TABLE `decisions` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`subscription_id` text NOT NULL,
	`at` integer NOT NULL,
	`current` integer NOT NULL,
	`desired` integer NOT NULL,
	`acted` integer NOT NULL,
	`limiter` text,
	`reason` text NOT NULL,
	`policy_name` text NOT NULL,
	`policy_revision` integer NOT NULL,
	`history` text NOT NULL,
	`trace` text NOT NULL,
	`state` text,
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `decisions_subscription` ON `decisions` (`subscription_id`,`id`);--> statement-breakpoint
CREATE TABLE `partition_decisions` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`partition` text NOT NULL,
	`at` integer NOT NULL,
	`desired` integer NOT NULL,
	`reason` text NOT NULL,
	`actions` text NOT NULL,
	`trace` text NOT NULL,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `partition_decisions_partition` ON `partition_decisions` (`partition`,`id`);--> statement-breakpoint
CREATE TABLE `partition_scalers` (
	`partition` text PRIMARY KEY NOT NULL,
	`state` text NOT NULL,
	`boot_times` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `providers` (
	`name` text PRIMARY KEY NOT NULL,
	`settings` text NOT NULL,
	`flavors` text NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `readings` (
	`subscription_id` text NOT NULL,
	`metric` text NOT NULL,
	`value` real NOT NULL,
	`at` integer NOT NULL,
	PRIMARY KEY(`subscription_id`, `metric`),
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `scalers` (
	`subscription_id` text PRIMARY KEY NOT NULL,
	`state` text NOT NULL,
	`seasonal` text NOT NULL,
	`start_times` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `vms` (
	`id` text PRIMARY KEY NOT NULL,
	`partition` text NOT NULL,
	`provider` text NOT NULL,
	`offer` text NOT NULL,
	`flavor` text NOT NULL,
	`zone` text,
	`capacity` text NOT NULL,
	`state` text NOT NULL,
	`provider_vm_id` text,
	`join_token_id` text NOT NULL,
	`node_id` text,
	`requested_at` text NOT NULL,
	`joined_at` text,
	`delete_reason` text,
	`problem` text,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`provider`) REFERENCES `providers`(`name`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`node_id`) REFERENCES `nodes`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE INDEX `vms_partition` ON `vms` (`partition`);--> statement-breakpoint
ALTER TABLE `nodes` ADD `drained_by` text;--> statement-breakpoint
ALTER TABLE `nodes` ADD `away_since` text;--> statement-breakpoint
ALTER TABLE `partition_policies` ADD `policy` text NOT NULL DEFAULT '{}';--> statement-breakpoint
UPDATE `partition_policies` SET `policy` = json_object('minNodes', `min_nodes`, 'maxNodes', `max_nodes`);--> statement-breakpoint
ALTER TABLE `partition_policies` DROP COLUMN `min_nodes`;--> statement-breakpoint
ALTER TABLE `partition_policies` DROP COLUMN `max_nodes`;--> statement-breakpoint
ALTER TABLE `processes` ADD `drain_deadline` text;--> statement-breakpoint
ALTER TABLE `processes` ADD `first_ready_at` text;--> statement-breakpoint
ALTER TABLE `scaling_policies` ADD `policy` text NOT NULL DEFAULT '{}';--> statement-breakpoint
UPDATE `scaling_policies` SET `policy` = json_object('min', `min`, 'max', `max`);--> statement-breakpoint
ALTER TABLE `scaling_policies` DROP COLUMN `min`;--> statement-breakpoint
ALTER TABLE `scaling_policies` DROP COLUMN `max`;