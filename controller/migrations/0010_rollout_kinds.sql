ALTER TABLE `rollouts` ADD `changed` text DEFAULT '[]' NOT NULL;--> statement-breakpoint
ALTER TABLE `rollouts` ADD `rollback_to` integer;--> statement-breakpoint
ALTER TABLE `rollouts` ADD `held` integer;--> statement-breakpoint
CREATE INDEX `rollouts_open` ON `rollouts` (`subscription_id`) WHERE ended_at is null;--> statement-breakpoint
ALTER TABLE `subscriptions` ADD `wished_generation` integer;--> statement-breakpoint
-- What ran before roll-outs were recorded is what a failed one goes back to.
INSERT OR IGNORE INTO `rollouts` (`subscription_id`, `generation`, `digest`, `state`, `cause`, `is_promoted`, `started_at`, `progress_at`, `ended_at`)
SELECT `subscriptions`.`id`, `subscriptions`.`generation`, json_extract(`generations`.`spec`, '$.image.digest'), 'complete', 'ran before roll-outs were recorded', 1, `generations`.`created_at`, `generations`.`created_at`, `generations`.`created_at`
FROM `subscriptions` JOIN `generations` ON `generations`.`subscription_id` = `subscriptions`.`id` AND `generations`.`generation` = `subscriptions`.`generation`;
