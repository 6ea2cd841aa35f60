#include "lab/hist.h"

/* Values below 32 have a bucket each; above, 32 buckets to every doubling. */
static unsigned bucket_of(uint64_t v)
{
        if (v < 32)
                return (unsigned)v;
        unsigned top = 63U - (unsigned)__builtin_clzll(v);
        return (top - 4) * 32 + (unsigned)((v >> (top - 5)) & 31);
}

static int64_t bucket_middle(unsigned b)
{
        if (b < 32)
                return b;
        unsigned shift = b / 32 - 1;
        uint64_t low = ((uint64_t)32 + b % 32) << shift;
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
