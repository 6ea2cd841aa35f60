#pragma once
/**
 * What this kernel has of what we need. Asked by trying, not by its version: distributions move
 * features back, and containers take them away.
 */
#include "hands/message.h"

#include <stddef.h>

/** DOG_KERNEL_ bits. Needs root; loads small programs and lets go of them. */
uint32_t dog_kernel_probe(const char *pin_folder);

/** One sentence on the first thing missing, or "" when nothing is. */
const char *dog_kernel_missing(uint32_t has, char *to, size_t room);
