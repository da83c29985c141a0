CREATE TABLE `audit` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` text NOT NULL,
	`principal` text NOT NULL,
	`scope` text,
	`tenant` text NOT NULL,
	`address` text NOT NULL,
	`method` text NOT NULL,
	`path` text NOT NULL,
	`status` integer NOT NULL,
	`code` text,
	`request_id` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_tenant` ON `audit` (`tenant`,`id`);--> statement-breakpoint
CREATE TABLE `tenants` (
	`name` text PRIMARY KEY NOT NULL,
	`description` text NOT NULL,
	`quota` text NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `job_runs` (
	`id` text PRIMARY KEY NOT NULL,
	`job_id` text NOT NULL,
	`scheduled_at` text,
	`state` text NOT NULL,
	`failures` integer NOT NULL,
	`started_at` text NOT NULL,
	`ended_at` text,
	`exit` text,
	`reason` text,
	FOREIGN KEY (`job_id`) REFERENCES `jobs`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `job_runs_job` ON `job_runs` (`job_id`,`started_at`);--> statement-breakpoint
CREATE TABLE `jobs` (
	`id` text PRIMARY KEY NOT NULL,
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`subscription_id` text NOT NULL,
	`job` text NOT NULL,
	`scheduled_at` text,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `jobs_tenant_name` ON `jobs` (`tenant`,`name`);--> statement-breakpoint
CREATE TABLE `volumes` (
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`node_id` text,
	`fence` integer NOT NULL,
	`holder` text,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant`, `name`),
	FOREIGN KEY (`node_id`) REFERENCES `nodes`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE TABLE `rollouts` (
	`subscription_id` text NOT NULL,
	`generation` integer NOT NULL,
	`digest` text NOT NULL,
	`from_generation` integer,
	`state` text NOT NULL,
	`cause` text NOT NULL,
	`reason` text,
	`is_promoted` integer NOT NULL,
	`started_at` text NOT NULL,
	`progress_at` text NOT NULL,
	`ended_at` text,
	PRIMARY KEY(`subscription_id`, `generation`),
	FOREIGN KEY (`subscription_id`) REFERENCES `subscriptions`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
ALTER TABLE `nodes` ADD `upgrade` text;--> statement-breakpoint
ALTER TABLE `processes` ADD `run_id` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `rollout` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `placement` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `depends_on` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `ratio` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `follow` text DEFAULT 'cartridge' NOT NULL;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `followed_digest` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `previous_secret_hash` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `previous_expires_at` text;--> statement-breakpoint
ALTER TABLE `tokens` ADD `rate_per_minute` integer;--> statement-breakpoint
CREATE TRIGGER `audit_is_written_once` BEFORE UPDATE ON `audit` BEGIN SELECT raise(abort, 'the audit log is append-only'); END;
--> statement-breakpoint
ALTER TABLE `job_runs` ADD `generation` integer NOT NULL;--> statement-breakpoint
ALTER TABLE `job_runs` ADD `retry_at` text;--> statement-breakpoint
ALTER TABLE `volumes` ADD `deleted_at` text;
--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `started_at` text;
--> statement-breakpoint
CREATE TABLE `former_nodes` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`credential_hash` text NOT NULL,
	`deleted_at` text NOT NULL
);
--> statement-breakpoint
ALTER TABLE `nodes` ADD `drain_deadline` text;
--> statement-breakpoint
ALTER TABLE `image_signatures` ADD `variants` text;
--> statement-breakpoint
ALTER TABLE `rollouts` ADD `changed` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `rollouts` ADD `rollback_to` integer;--> statement-breakpoint
ALTER TABLE `rollouts` ADD `held` integer;--> statement-breakpoint
CREATE INDEX `rollouts_open` ON `rollouts` (`subscription_id`) WHERE ended_at is null;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `wished_generation` integer;--> statement-breakpoint
-- What ran before roll-outs were recorded is what a failed one goes back to.
INSERT OR IGNORE INTO `rollouts` (`subscription_id`, `generation`, `digest`, `state`, `cause`, `is_promoted`, `started_at`, `progress_at`, `ended_at`)
SELECT `subscriptions`.`id`, `subscriptions`.`generation`, json_extract(`generations`.`spec`, '$.image.digest'), 'complete', 'ran before roll-outs were recorded', 1, `generations`.`created_at`, `generations`.`created_at`, `generations`.`created_at`
FROM `subscriptions` JOIN `generations` ON `generations`.`subscription_id` = `subscriptions`.`id` AND `generations`.`generation` = `subscriptions`.`generation`;
--> statement-breakpoint
ALTER TABLE `cartridges` ADD `tenant` text DEFAULT 'default' NOT NULL;
