CREATE TABLE `retention_policies` (
	`name` text PRIMARY KEY NOT NULL,
	`repositories` text NOT NULL,
	`keep_last` integer,
	`keep_tags` text,
	`keep_pulled_within_ms` integer,
	`keep_untagged` integer NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `store_quotas` (
	`name` text PRIMARY KEY NOT NULL,
	`bytes` integer NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
