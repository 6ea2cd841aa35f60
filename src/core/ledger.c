#include "core/ledger.h"

#include "base/words.h"

#include <stdlib.h>

struct dog_ledger {
        size_t size;
        uint64_t newest;
        uint64_t first; /* the oldest number that was ever in this ring */
        void (*told)(void *user, const struct dog_ledger_row *row, bool is_graded);
        void *user;
        struct dog_ledger_row row[];
};

struct dog_ledger *dog_ledger_new(size_t rows)
{
        struct dog_ledger *l = calloc(1, sizeof(*l) + rows * sizeof(l->row[0]));
        if (l) {
                l->size = rows;
                l->first = 1;
        }
        return l;
}

void dog_ledger_free(struct dog_ledger *l)
{
        free(l);
}

void dog_ledger_listen(struct dog_ledger *l,
                       void (*told)(void *user, const struct dog_ledger_row *row, bool is_graded), void *user)
{
        l->told = told;
        l->user = user;
}

void dog_ledger_number_from(struct dog_ledger *l, uint64_t last)
{
        l->newest = last;
        l->first = last + 1;
}

uint64_t dog_ledger_append(struct dog_ledger *l, const struct dog_ledger_row *row)
{
        struct dog_ledger_row *to = &l->row[++l->newest % l->size];
        *to = *row;
        to->plan.decision = l->newest;
        to->grade = DOG_GRADE_OPEN;
        if (l->told)
                l->told(l->user, to, false);
        return l->newest;
}

const struct dog_ledger_row *dog_ledger_find(const struct dog_ledger *l, uint64_t decision)
{
        if (decision < l->first || decision > l->newest)
                return NULL;
        const struct dog_ledger_row *row = &l->row[decision % l->size];
        return row->plan.decision == decision ? row : NULL;
}

uint64_t dog_ledger_newest(const struct dog_ledger *l)
{
        return l->newest;
}

bool dog_ledger_grade(struct dog_ledger *l, uint64_t decision, enum dog_grade grade, int64_t now_ns,
                      int64_t bad_with_ns, int64_t bad_without_ns, int64_t seen_ns)
{
        if (!dog_ledger_find(l, decision))
                return false;
        struct dog_ledger_row *row = &l->row[decision % l->size];
        row->grade = (uint8_t)grade;
        row->graded_ns = now_ns;
        row->bad_with_ns = bad_with_ns;
        row->bad_without_ns = bad_without_ns;
        row->seen_ns = seen_ns;
        if (l->told)
                l->told(l->user, row, true);
        return true;
}

DOG_WORDS(dog_grade_name, enum dog_grade, DOG_GRADES, DOG_COLUMN_2)
