#include "learn/nodes_inside.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- outcomes ------------------------------------------------------------------------------------ */

void nodes_failure_labels(const struct dog_node_record *r, int64_t t_s, int8_t *label, bool *is_inside)
{
        *is_inside = false;
        for (unsigned i = 0; i < r->incidents; i++)
                *is_inside |= r->incident[i].start_s <= t_s && t_s < r->incident[i].end_s;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                int64_t ahead = dog_node_horizon_s[h];
                bool is_before = false, is_after = false;
                for (unsigned i = 0; i < r->incidents; i++) {
                        const struct dog_node_incident *in = &r->incident[i];
                        is_before |= t_s < in->start_s && in->start_s <= t_s + ahead;
                        is_after |= in->end_s <= t_s && t_s < in->end_s + ahead;
                }
                bool is_left_out = *is_inside || (is_after && !is_before) || t_s + ahead >= r->end_s;
                label[h] = is_left_out ? DOG_LABEL_UNKNOWN : is_before;
        }
}

/* Two walks over the rows: how long it has been below, and when it will next be above. */
void nodes_overload_labels(const struct dog_node_record *r, unsigned metric, int8_t *label)
{
        float limit = r->limit[metric];
        memset(label, DOG_LABEL_UNKNOWN, r->rows * DOG_NODE_HORIZONS);
        if (isnan(limit) || r->rows == 0)
                return;
        int64_t last_above = INT64_MIN, next_above = INT64_MAX;
        int64_t begin = r->t_s[0], end = r->t_s[r->rows - 1];
        for (size_t i = 0; i < r->rows; i++) {
                float v = r->value[i * r->metrics + metric];
                if (v > limit)
                        last_above = r->t_s[i];
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        int64_t since = last_above == INT64_MIN ? begin : last_above + 1;
                        bool is_below = !isnan(v) && since <= r->t_s[i] - dog_node_horizon_s[h];
                        if (is_below)
                                label[i * DOG_NODE_HORIZONS + (size_t)h] = 0;
                }
        }
        for (size_t i = r->rows; i-- > 0;) {
                int8_t *l = label + i * DOG_NODE_HORIZONS;
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        int64_t until = r->t_s[i] + dog_node_horizon_s[h];
                        if (l[h] == DOG_LABEL_UNKNOWN)
                                continue;
                        if (next_above <= until)
                                l[h] = 1;
                        else if (until > end)
                                l[h] = DOG_LABEL_UNKNOWN;
                }
                if (r->value[i * r->metrics + metric] > limit)
                        next_above = r->t_s[i];
        }
}
