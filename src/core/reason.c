#include "core/reason.h"

static const struct {
        const char *name;
        const char *help;
} reason_row[] = {
#define X(id, word, help) {word, help},
        DOG_REASONS(X)
#undef X
};

const char *dog_reason_name(enum dog_reason why)
{
        return (unsigned)why < DOG_WHY_COUNT ? reason_row[why].name : "?";
}

const char *dog_reason_help(enum dog_reason why)
{
        return (unsigned)why < DOG_WHY_COUNT ? reason_row[why].help : "?";
}
