CREATE TABLE `blobs` (
	`digest` text PRIMARY KEY NOT NULL,
	`size_bytes` integer NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `manifest_references` (
	`repository` text NOT NULL,
	`manifest` text NOT NULL,
	`digest` text NOT NULL,
	PRIMARY KEY(`repository`, `manifest`, `digest`),
	FOREIGN KEY (`repository`,`manifest`) REFERENCES `manifests`(`repository`,`digest`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `manifest_references_digest` ON `manifest_references` (`repository`,`digest`);--> statement-breakpoint
CREATE TABLE `manifests` (
	`repository` text NOT NULL,
	`digest` text NOT NULL,
	`media_type` text NOT NULL,
	`size_bytes` integer NOT NULL,
	`subject` text,
	`artifact_type` text,
	`referrer` text,
	`pushed_at` integer NOT NULL,
	`body` blob NOT NULL,
	PRIMARY KEY(`repository`, `digest`),
	FOREIGN KEY (`repository`) REFERENCES `repositories`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `manifests_subject` ON `manifests` (`repository`,`subject`,`digest`);--> statement-breakpoint
CREATE TABLE `repositories` (
	`name` text PRIMARY KEY NOT NULL,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `repository_blobs` (
	`repository` text NOT NULL,
	`digest` text NOT NULL,
	`linked_at` integer NOT NULL,
	PRIMARY KEY(`repository`, `digest`),
	FOREIGN KEY (`repository`) REFERENCES `repositories`(`name`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `repository_blobs_digest` ON `repository_blobs` (`digest`);--> statement-breakpoint
CREATE TABLE `tags` (
	`repository` text NOT NULL,
	`name` text NOT NULL,
	`digest` text NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`repository`, `name`),
	FOREIGN KEY (`repository`,`digest`) REFERENCES `manifests`(`repository`,`digest`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `tags_digest` ON `tags` (`repository`,`digest`);--> statement-breakpoint
CREATE TABLE `uploads` (
	`id` text PRIMARY KEY NOT NULL,
	`repository` text NOT NULL,
	`subject` text NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `uploads_subject` ON `uploads` (`subject`);--> statement-breakpoint
CREATE INDEX `uploads_updated_at` ON `uploads` (`updated_at`);