#include "base/rng.h"

#include <math.h>

void dog_rng_init(struct dog_rng *r, uint64_t seed)
{
        for (int i = 0; i < 4; i++) {
                seed += 0x9e3779b97f4a7c15U;
                uint64_t z = seed;
                z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
                z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
                r->word[i] = z ^ (z >> 31);
        }
}

static uint64_t rotl(uint64_t x, int k)
{
        return (x << k) | (x >> (64 - k));
}

uint64_t dog_rng_u64(struct dog_rng *r)
{
        uint64_t *s = r->word;
        uint64_t result = rotl(s[0] + s[3], 23) + s[0];
        uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = rotl(s[3], 45);
        return result;
}

double dog_rng_unit(struct dog_rng *r)
{
        return (double)(dog_rng_u64(r) >> 11) * 0x1.0p-53;
}

uint64_t dog_rng_below(struct dog_rng *r, uint64_t n)
{
        return (uint64_t)(dog_rng_unit(r) * (double)n);
}

double dog_rng_normal(struct dog_rng *r)
{
        double u = 1.0 - dog_rng_unit(r);
        double v = dog_rng_unit(r);
        return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}
