#pragma once
/**
 * The smallest kind: members whose samples were written down beforehand. Nothing outside the
 * process is touched. Tests, `sundog replay` and the first page of the manual use it.
 */
#include "core/kind.h"

struct twin_row {
        uint16_t member;
        struct dog_sample sample;
};

extern const struct dog_kind twin_kind;

/**
 * A group that plays a script.
 *
 * @param row   samples in the order of their time; borrowed, must outlive the group; NULL when
 *              samples come by dog_group_sample() instead
 * @param rows  how many
 * @return NULL when memory is short or there are too many members
 */
struct dog_group *twin_group_new(const char *name, unsigned members, const struct twin_row *row, size_t rows);
