#pragma once
/**
 * The log: one line per change, never per tick, as key=value words.
 *     group=voice event=move from=fiber to=lte reason=breach-forecast p=0.82
 * Lines go to standard error, where systemd or a person reads them. A level prefix
 * (<3> .. <7>) is added when $JOURNAL_STREAM is set, as sd-daemon(3) describes.
 */
enum dog_log_level { DOG_LOG_ERROR, DOG_LOG_WARN, DOG_LOG_INFO, DOG_LOG_DEBUG };

/** Lines above this level are dropped. The default is DOG_LOG_INFO. */
void dog_log_level_set(enum dog_log_level most);

void dog_log(enum dog_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
