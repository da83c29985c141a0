CREATE TABLE `acme_accounts` (
	`tenant` text NOT NULL,
	`directory` text NOT NULL,
	`key_id` text NOT NULL,
	`sealed_key` text NOT NULL,
	`created_at` text NOT NULL,
	PRIMARY KEY(`tenant`, `directory`, `key_id`)
);
--> statement-breakpoint
CREATE TABLE `acme_challenges` (
	`token` text PRIMARY KEY NOT NULL,
	`answer` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `certificates` (
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`spec` text NOT NULL,
	`chain` text,
	`sealed_key` text,
	`facts` text,
	`issued_revision` integer,
	`failures` integer NOT NULL,
	`problem` text,
	`next_try_at` text,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant`, `name`)
);
--> statement-breakpoint
CREATE TABLE `host_certificates` (
	`host` text PRIMARY KEY NOT NULL,
	`tenant` text NOT NULL,
	`chain` text NOT NULL,
	`sealed_key` text NOT NULL,
	`facts` text NOT NULL
);
