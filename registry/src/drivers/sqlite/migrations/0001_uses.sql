CREATE TABLE `manifest_uses` (
	`repository` text NOT NULL,
	`digest` text NOT NULL,
	`pulled_at` integer,
	`touched_at` integer,
	PRIMARY KEY(`repository`, `digest`),
	FOREIGN KEY (`repository`,`digest`) REFERENCES `manifests`(`repository`,`digest`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE TABLE `progress` (
	`task` text PRIMARY KEY NOT NULL,
	`position` text NOT NULL
);
