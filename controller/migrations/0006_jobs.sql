ALTER TABLE `job_runs` ADD `generation` integer NOT NULL;--> statement-breakpoint
ALTER TABLE `job_runs` ADD `retry_at` text;--> statement-breakpoint
ALTER TABLE `volumes` ADD `deleted_at` text;