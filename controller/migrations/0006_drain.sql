ALTER TABLE `processes` ADD `notice_until` text;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `drain` text;