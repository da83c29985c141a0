CREATE TABLE `cartridges` (
	`name` text PRIMARY KEY NOT NULL,
	`description` text NOT NULL,
	`image` text NOT NULL,
	`repository` text NOT NULL,
	`digest` text NOT NULL,
	`image_ports` text NOT NULL,
	`partition` text,
	`running` text NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` text NOT NULL,
	`type` text NOT NULL,
	`tenant` text,
	`subject` text NOT NULL,
	`message` text NOT NULL,
	`data` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `generations` (
	`subscription_id` text NOT NULL,
	`generation` integer NOT NULL,
	`spec` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`subscription_id`, `generation`),
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `join_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`partition` text NOT NULL,
	`secret_hash` text NOT NULL,
	`uses_left` integer NOT NULL,
	`expires_at` text NOT NULL,
	`created_at` text NOT NULL,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `join_tokens_secretHash_unique` ON `join_tokens` (`secret_hash`);--> statement-breakpoint
CREATE TABLE `meta` (
	`key` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `nodes` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`partition` text NOT NULL,
	`machine_id` text NOT NULL,
	`join_token_id` text NOT NULL,
	`admission` text NOT NULL,
	`presence` text NOT NULL,
	`address` text NOT NULL,
	`architecture` text NOT NULL,
	`kernel` text NOT NULL,
	`agent_version` text NOT NULL,
	`labels` text NOT NULL,
	`capacity` text NOT NULL,
	`credential_hash` text NOT NULL,
	`assignment_revision` integer NOT NULL,
	`last_seen_at` text,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `nodes_name` ON `nodes` (`name`);--> statement-breakpoint
CREATE INDEX `nodes_partition` ON `nodes` (`partition`);--> statement-breakpoint
CREATE INDEX `nodes_machine` ON `nodes` (`machine_id`);--> statement-breakpoint
CREATE TABLE `partition_policies` (
	`name` text PRIMARY KEY NOT NULL,
	`min_nodes` integer NOT NULL,
	`max_nodes` integer NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `partitions` (
	`name` text PRIMARY KEY NOT NULL,
	`description` text NOT NULL,
	`labels` text NOT NULL,
	`policy` text,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`policy`) REFERENCES `partition_policies`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `processes` (
	`id` text PRIMARY KEY NOT NULL,
	`subscription_id` text NOT NULL,
	`generation` integer NOT NULL,
	`attempt` integer NOT NULL,
	`desired` text NOT NULL,
	`state` text NOT NULL,
	`state_at` text NOT NULL,
	`ready` integer NOT NULL,
	`node_id` text,
	`assignment_id` text,
	`fence` integer NOT NULL,
	`decided_revision` integer NOT NULL,
	`start_deadline` text,
	`pid` integer,
	`restarts` integer NOT NULL,
	`address` text,
	`ports` text NOT NULL,
	`started_at` text,
	`last_exit` text,
	`problem` text,
	`created_at` text NOT NULL,
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`node_id`) REFERENCES `nodes`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `processes_subscription` ON `processes` (`subscription_id`);--> statement-breakpoint
CREATE INDEX `processes_node` ON `processes` (`node_id`);--> statement-breakpoint
CREATE TABLE `scaling_policies` (
	`name` text PRIMARY KEY NOT NULL,
	`min` integer NOT NULL,
	`max` integer NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `subscriptions` (
	`id` text PRIMARY KEY NOT NULL,
	`tenant` text NOT NULL,
	`alias` text NOT NULL,
	`cartridge` text NOT NULL,
	`partition` text NOT NULL,
	`own_partition` text,
	`processes` integer NOT NULL,
	`scaling_policy` text,
	`lost_after_ms` integer NOT NULL,
	`running` text NOT NULL,
	`generation` integer NOT NULL,
	`deleted_at` text,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`cartridge`) REFERENCES `cartridges`(`name`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`own_partition`) REFERENCES `partitions`(`name`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`scaling_policy`) REFERENCES `scaling_policies`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `subscriptions_tenant_alias` ON `subscriptions` (`tenant`,`alias`);--> statement-breakpoint
CREATE INDEX `subscriptions_cartridge` ON `subscriptions` (`cartridge`);--> statement-breakpoint
CREATE INDEX `subscriptions_partition` ON `subscriptions` (`partition`);--> statement-breakpoint
CREATE TABLE `tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`scope` text NOT NULL,
	`tenant` text NOT NULL,
	`secret_hash` text NOT NULL,
	`created_at` text NOT NULL,
	`expires_at` text,
	`last_used_at` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `tokens_name` ON `tokens` (`name`);