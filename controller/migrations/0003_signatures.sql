CREATE TABLE `image_signatures` (
	`repository` text NOT NULL,
	`digest` text NOT NULL,
	`signatures` text NOT NULL,
	PRIMARY KEY(`repository`, `digest`)
);
--> statement-breakpoint
CREATE TABLE `signature_policies` (
	`name` text PRIMARY KEY NOT NULL,
	`repositories` text NOT NULL,
	`mode` text NOT NULL,
	`keys` text NOT NULL,
	`revision` integer NOT NULL,
	`created_at` text NOT NULL,
	`updated_at` text NOT NULL
);
