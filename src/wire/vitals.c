#include "wire/vitals.h"

#include <stddef.h>

static const struct {
        const char *word, *unit, *help;
        double most;
} vital_row[DOG_VITAL_COUNT] = {
#define X(name, word, unit, most, help) [DOG_VITAL_##name] = {word, unit, help, most},
        DOG_VITALS(X)
#undef X
};

struct dog_vitals dog_vitals_unknown(void)
{
        struct dog_vitals v;
        for (int i = 0; i < DOG_VITAL_COUNT; i++)
                v.value[i] = (double)NAN;
        return v;
}

const char *dog_vital_word(enum dog_vital v)
{
        return v < DOG_VITAL_COUNT ? vital_row[v].word : "?";
}

const char *dog_vital_unit(enum dog_vital v)
{
        return v < DOG_VITAL_COUNT ? vital_row[v].unit : "?";
}

const char *dog_vital_help(enum dog_vital v)
{
        return v < DOG_VITAL_COUNT ? vital_row[v].help : "?";
}

bool dog_vital_is_possible(enum dog_vital v, double value)
{
        return v < DOG_VITAL_COUNT && (isnan(value) || (value >= 0 && value <= vital_row[v].most));
}

unsigned dog_vitals_cleanse(struct dog_vitals *v)
{
        unsigned refused = 0;
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++) {
                if (dog_vital_is_possible((enum dog_vital)i, v->value[i]))
                        continue;
                v->value[i] = (double)NAN;
                refused++;
        }
        return refused;
}
