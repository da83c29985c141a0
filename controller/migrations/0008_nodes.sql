CREATE TABLE `former_nodes` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`credential_hash` text NOT NULL,
	`deleted_at` text NOT NULL
);
--> statement-breakpoint
ALTER TABLE `nodes` ADD `drain_deadline` text;