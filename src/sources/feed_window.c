#include "sources/feed_window.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* Is window a worse than b? The earlier one of two equals. */
static bool window_is_worse(const struct dog_feed_windows *t, uint32_t a, uint32_t b)
{
        if (a == NONE || b == NONE)
                return a != NONE;
        const struct dog_feed_window *x = &t->window[a], *y = &t->window[b];
        return x->log_odds > y->log_odds || (x->log_odds >= y->log_odds && a < b);
}

static uint32_t window_worse(const struct dog_feed_windows *t, uint32_t a, uint32_t b)
{
        return window_is_worse(t, a, b) ? a : b;
}

static int window_order(const void *a, const void *b)
{
        const struct dog_feed_window *x = a, *y = b;
        if (x->start_s != y->start_s)
                return x->start_s < y->start_s ? -1 : 1;
        return x->entry < y->entry ? -1 : x->entry > y->entry;
}

static int edge_order(const void *a, const void *b)
{
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
        return x < y ? -1 : x > y;
}

/* ---- the windows that are open, the worst on top; what has ended is taken off when it gets there ---- */

struct open_heap {
        uint32_t *at;
        size_t n;
};

static void heap_swap(struct open_heap *h, size_t a, size_t b)
{
        uint32_t keep = h->at[a];
        h->at[a] = h->at[b];
        h->at[b] = keep;
}

static void heap_push(const struct dog_feed_windows *t, struct open_heap *h, uint32_t window)
{
        size_t i = h->n++;
        h->at[i] = window;
        for (; i && window_is_worse(t, h->at[i], h->at[(i - 1) / 2]); i = (i - 1) / 2)
                heap_swap(h, i, (i - 1) / 2);
}

static void heap_pop(const struct dog_feed_windows *t, struct open_heap *h)
{
        h->at[0] = h->at[--h->n];
        for (size_t i = 0;;) {
                size_t worst = i;
                for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < h->n; k++)
                        if (window_is_worse(t, h->at[k], h->at[worst]))
                                worst = k;
                if (worst == i)
                        return;
                heap_swap(h, i, worst);
                i = worst;
        }
}

/* ---- making ---- */

static void windows_edges(struct dog_feed_windows *t)
{
        for (size_t i = 0; i < t->windows; i++) {
                t->edge_s[2 * i] = t->window[i].start_s;
                t->edge_s[2 * i + 1] = t->window[i].end_s;
        }
        qsort(t->edge_s, 2 * t->windows, sizeof(*t->edge_s), edge_order);
        for (size_t i = 0; i < 2 * t->windows; i++)
                if (i == 0 || t->edge_s[i] != t->edge_s[t->stretches - 1])
                        t->edge_s[t->stretches++] = t->edge_s[i];
}

static void windows_sweep(struct dog_feed_windows *t, struct open_heap *open)
{
        size_t next = 0;
        for (size_t i = 0; i < t->stretches; i++) {
                while (next < t->windows && t->window[next].start_s <= t->edge_s[i])
                        heap_push(t, open, (uint32_t)next++);
                while (open->n && t->window[open->at[0]].end_s <= t->edge_s[i])
                        heap_pop(t, open);
                t->tree[t->leaves + i] = open->n ? open->at[0] : NONE;
        }
        for (size_t i = t->leaves - 1; i > 0; i--)
                t->tree[i] = window_worse(t, t->tree[2 * i], t->tree[2 * i + 1]);
}

int dog_feed_windows_make(struct dog_feed_windows *t, const struct dog_feed_window *window, size_t n)
{
        *t = (struct dog_feed_windows){0};
        if (n == 0)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (window[i].start_s >= window[i].end_s || !(window[i].log_odds > 0))
                        return -EINVAL;
        if (n > NONE / 4)
                return -ENOMEM;
        size_t leaves = 1;
        while (leaves < 2 * n)
                leaves *= 2;
        t->windows = n;
        t->leaves = leaves;
        t->window = calloc(n, sizeof(*t->window));
        t->edge_s = calloc(2 * n, sizeof(*t->edge_s));
        t->tree = calloc(2 * leaves, sizeof(*t->tree));
        struct open_heap open = {.at = calloc(n, sizeof(*open.at))};
        if (!t->window || !t->edge_s || !t->tree || !open.at) {
                free(open.at);
                dog_feed_windows_free(t);
                return -ENOMEM;
        }
        memcpy(t->window, window, n * sizeof(*window));
        memset(t->tree, 0xff, 2 * leaves * sizeof(*t->tree));
        qsort(t->window, n, sizeof(*t->window), window_order);
        windows_edges(t);
        windows_sweep(t, &open);
        free(open.at);
        return 0;
}

void dog_feed_windows_free(struct dog_feed_windows *t)
{
        free(t->window);
        free(t->edge_s);
        free(t->tree);
        *t = (struct dog_feed_windows){0};
}

/* ---- asking ---- */

/* How many stretches begin at or before at_s. */
static size_t windows_begun(const struct dog_feed_windows *t, int64_t at_s)
{
        size_t low = 0, high = t->stretches;
        while (low < high) {
                size_t middle = (low + high) / 2;
                if (t->edge_s[middle] <= at_s)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

const struct dog_feed_window *dog_feed_windows_worst(const struct dog_feed_windows *t, int64_t from_s,
                                                     int64_t to_s)
{
        size_t first = windows_begun(t, from_s);
        size_t end = windows_begun(t, to_s);
        if (end == 0 || from_s > to_s)
                return NULL;
        uint32_t worst = NONE;
        size_t a = t->leaves + (first ? first - 1 : 0);
        size_t b = t->leaves + end;
        for (; a < b; a /= 2, b /= 2) {
                if (a & 1)
                        worst = window_worse(t, worst, t->tree[a++]);
                if (b & 1)
                        worst = window_worse(t, worst, t->tree[--b]);
        }
        return worst == NONE ? NULL : &t->window[worst];
}
