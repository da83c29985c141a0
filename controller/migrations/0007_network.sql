CREATE TABLE `routes` (
	`tenant` text NOT NULL,
	`name` text NOT NULL,
	`spec` text NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL,
	PRIMARY KEY(`tenant`, `name`)
);
--> statement-breakpoint
ALTER TABLE `nodes` ADD `roles` text;--> statement-breakpoint
ALTER TABLE `partitions` ADD `roles` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `network` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `service_number` integer;--> statement-breakpoint
CREATE UNIQUE INDEX `subscriptions_service_number` ON `subscriptions` (`service_number`);