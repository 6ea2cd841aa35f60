#include "lab/pattern.h"

#include <string.h>

/* splitmix64 of the word's number (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
 * 2014). */
static uint64_t pattern_word(uint64_t seed, uint64_t number)
{
        uint64_t z = seed + number * 0x9e3779b97f4a7c15U;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
}

void lab_pattern_fill(uint64_t seed, uint64_t offset, uint8_t *to, size_t n)
{
        while (n > 0) {
                uint64_t word = pattern_word(seed, offset / 8);
                size_t skip = offset % 8;
                size_t take = 8 - skip < n ? 8 - skip : n;
                memcpy(to, (const uint8_t *)&word + skip, take);
                to += take;
                offset += take;
                n -= take;
        }
}

size_t lab_pattern_match(uint64_t seed, uint64_t offset, const uint8_t *bytes, size_t n)
{
        uint8_t want[512];
        size_t done = 0;
        while (done < n) {
                size_t take = n - done < sizeof(want) ? n - done : sizeof(want);
                lab_pattern_fill(seed, offset + done, want, take);
                if (memcmp(want, bytes + done, take) != 0) {
                        size_t at = 0;
                        while (want[at] == bytes[done + at])
                                at++;
                        return done + at;
                }
                done += take;
        }
        return n;
}

/* FNV-1a, 64 bit (Fowler, Noll and Vo; RFC 9923). */
uint64_t lab_pattern_sum(uint64_t sum, const uint8_t *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                sum = (sum ^ bytes[i]) * 0x100000001b3U;
        return sum;
}
