#pragma once
/** What the files of the radio source share: radio.c, radio_file.c, radio_modem.c. Private. */
#include "sources/http.h"
#include "sources/radio.h"
#include "sources/radio_read.h"

#include <sys/stat.h>
#include <sys/types.h>

/** A file or pipe. */
struct radio_file {
        int fd; /**< of a pipe; -1 */
        bool is_watched, is_seen;
        struct timespec changed;
        off_t size;
        ino_t inode;
        size_t taken; /**< octets from the pipe in this interval */
        size_t kept;  /**< of `line`: the beginning of a line whose end has not come */
        bool is_cut;  /**< ... which is too long, and is passed over up to its end */
        char line[DOG_RADIO_LINE];
        struct dog_radio_read read;
};

struct radio_modem;

struct dog_radio_source {
        struct dog_radio_conf conf;
        char *text[6]; /**< copies of the conf's strings */
        int64_t due_ns, told_ns;
        unsigned failed_in_row;
        bool is_silent; /**< told so */
        struct dog_radio_stats stats;
        struct radio_file file;
        struct dog_http http;
        bool has_http;
        struct radio_modem *modem;
};

/** Hand a reading over, its time set; drops one that comes too soon after another. */
void radio_tell(struct dog_radio_source *s, struct dog_radio *r, int64_t now_ns);
/** It could not be had. */
void radio_fail(struct dog_radio_source *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Something that a person must know at once. */
void radio_news(struct dog_radio_source *s, bool is_warning, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/** What was read from a text: counted, and told when something is in it. */
void radio_take(struct dog_radio_source *s, const struct dog_radio_read *r, int64_t now_ns);

void radio_file_begin(struct dog_radio_source *s);
void radio_file_end(struct dog_radio_source *s);
void radio_file_look(struct dog_radio_source *s, int64_t now_ns);
void radio_file_ready(struct dog_radio_source *s, int64_t now_ns);

/** @return 0 or -ENOMEM */
int radio_modem_begin(struct dog_radio_source *s);
void radio_modem_end(struct dog_radio_source *s);
/** The bus's work, and what is due. @return when to call again */
int64_t radio_modem_step(struct dog_radio_source *s, int64_t now_ns);
