#include "wire/feed_entry.h"

const char *dog_feed_drop_word(enum dog_feed_drop d)
{
        static const char *const word[] = {
#define X(name, w, text) w,
                DOG_FEED_DROPS(X)
#undef X
        };
        return d < DOG_FEED_DROP_COUNT ? word[d] : "?";
}

const char *dog_feed_drop_text(enum dog_feed_drop d)
{
        static const char *const sentence[] = {
#define X(name, w, text) text,
                DOG_FEED_DROPS(X)
#undef X
        };
        return d < DOG_FEED_DROP_COUNT ? sentence[d] : "?";
}

void dog_feed_drop(struct dog_feed_reader *r, enum dog_feed_drop why)
{
        if (r->dropped[why] < UINT32_MAX)
                r->dropped[why]++;
}

void dog_feed_take(struct dog_feed_reader *r, const struct dog_feed_entry *entry)
{
        struct dog_feed_entry e = *entry;
        if (r->seen < UINT32_MAX)
                r->seen++;
        if (e.start_s >= e.end_s)
                dog_feed_drop(r, DOG_FEED_DROP_TIME);
        else if (!(e.severity >= 0 && e.severity <= 1))
                dog_feed_drop(r, DOG_FEED_DROP_NUMBER);
        else if (e.end_s <= r->now_s)
                dog_feed_drop(r, DOG_FEED_DROP_PAST);
        else if (e.start_s >= r->until_s)
                dog_feed_drop(r, DOG_FEED_DROP_FAR);
        else if (r->taken >= r->most)
                dog_feed_drop(r, DOG_FEED_DROP_MANY);
        else {
                e.end_s = e.end_s > r->until_s ? r->until_s : e.end_s;
                r->taken++;
                r->take(r->user, &e);
        }
}

/* The length of the UTF-8 character at `s` (Unicode 15, table 3-7); 0: there is none. */
static size_t character(const unsigned char *s)
{
        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                return (s[1] & 0xc0) == 0x80 ? 2 : 0;
        if ((s[0] & 0xf0) == 0xe0) {
                bool is_fine = (s[1] & 0xc0) == 0x80 && !(s[0] == 0xe0 && s[1] < 0xa0) &&
                               !(s[0] == 0xed && s[1] > 0x9f);
                return is_fine && (s[2] & 0xc0) == 0x80 ? 3 : 0;
        }
        if (s[0] >= 0xf0 && s[0] <= 0xf4) {
                bool is_fine = (s[1] & 0xc0) == 0x80 && !(s[0] == 0xf0 && s[1] < 0x90) &&
                               !(s[0] == 0xf4 && s[1] > 0x8f);
                return is_fine && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
        }
        return 0;
}

void dog_feed_words(char *to, size_t room, const char *text)
{
        const unsigned char *s = (const unsigned char *)text;
        size_t at = 0;
        while (*s && room) {
                size_t n = character(s);
                /* C1 controls and the two separators of lines are controls, too. */
                bool is_control = *s < ' ' || *s == 127 || (n == 2 && s[0] == 0xc2 && s[1] < 0xa0) ||
                                  (n == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9));
                size_t out = n == 0 || is_control ? 1 : n;
                if (at + out >= room)
                        break;
                for (size_t i = 0; i < out; i++)
                        to[at + i] = (char)(n == 0 ? '?' : is_control ? ' ' : s[i]);
                at += out;
                s += n ? n : 1;
        }
        if (room)
                to[at] = 0;
}
