#include "lab/hist.h"

/* Values below FINE have a bucket each; above, FINE buckets to every doubling. */
#define FINE      LAB_HIST_FINE
#define FINE_BITS 7
_Static_assert(FINE == 1 << FINE_BITS, "LAB_HIST_FINE and FINE_BITS tell the same");

static unsigned bucket_of(uint64_t v)
{
        if (v < FINE)
                return (unsigned)v;
        unsigned top = 63U - (unsigned)__builtin_clzll(v);
        return (top - FINE_BITS + 1) * FINE + (unsigned)((v >> (top - FINE_BITS)) & (FINE - 1));
}

static int64_t bucket_middle(unsigned b)
{
        if (b < FINE)
                return b;
        unsigned shift = b / FINE - 1;
        uint64_t low = ((uint64_t)FINE + b % FINE) << shift;
        return (int64_t)(low + (((uint64_t)1 << shift) >> 1));
}

void lab_hist_add(struct lab_hist *h, int64_t ns)
{
        uint64_t v = ns > 0 ? (uint64_t)ns : 0;
        h->bucket[bucket_of(v)]++;
        h->count++;
        if (ns > h->max_ns)
                h->max_ns = ns;
}

int64_t lab_hist_at(const struct lab_hist *h, double share)
{
        double want = share * (double)h->count;
        uint64_t seen = 0;
        for (unsigned b = 0; b < sizeof(h->bucket) / sizeof(h->bucket[0]); b++) {
                seen += h->bucket[b];
                if (h->bucket[b] && (double)seen >= want)
                        return bucket_middle(b) < h->max_ns ? bucket_middle(b) : h->max_ns;
        }
        return h->max_ns;
}
