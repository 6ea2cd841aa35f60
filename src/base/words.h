#pragma once
/**
 * Words of a list of rows: LIST(X) with rows X(id, word), X(id, word, help), X(id, word, unit, help) ...
 *
 *     DOG_WORDS(dog_act_name, enum dog_act, DOG_ACTS, DOG_COLUMN_2)
 *
 * defines `const char *dog_act_name(enum dog_act i)`, which gives the second column of row i, and "?" for
 * what is no row. The caller declares it in its header.
 */
#include <stddef.h>

#define DOG_COLUMN_FIRST_(first, ...) first,
#define DOG_COLUMN_2(id, ...)         DOG_COLUMN_FIRST_(__VA_ARGS__, 0)
#define DOG_COLUMN_3(id, second, ...) DOG_COLUMN_FIRST_(__VA_ARGS__, 0)

#define DOG_WORDS(function, type, LIST, COLUMN)                                                              \
        const char *function(type i)                                                                         \
        {                                                                                                    \
                static const char *const text[] = {LIST(COLUMN)};                                            \
                return (size_t)i < sizeof(text) / sizeof(text[0]) ? text[i] : "?";                           \
        }
