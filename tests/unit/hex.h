#pragma once
/** Octets written as text, for vectors in tests. Two digits an octet, nothing else; stops at `room`. */
#include <stddef.h>
#include <stdint.h>

static inline unsigned hex_digit(char c)
{
        return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static inline size_t hex_read(const char *text, uint8_t *to, size_t room)
{
        size_t n = 0;
        for (; text[0] && text[1] && n < room; text += 2)
                to[n++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
        return n;
}
