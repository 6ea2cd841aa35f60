#include "core/reason.h"

#include "base/words.h"

DOG_WORDS(dog_reason_name, enum dog_reason, DOG_REASONS, DOG_COLUMN_2)
DOG_WORDS(dog_reason_help, enum dog_reason, DOG_REASONS, DOG_COLUMN_3)
