#pragma once
/**
 * The keys of the configuration as a table: sundog.conf(5), the parser, the printer and the nearest-key
 * suggestions are all made from it. A new key is a new row in config_keys.c and a field in config.h.
 */
#include <stddef.h>

enum config_type {
        CONFIG_NAME,     /**< const char *: letters, digits, '-', '_', '.'; at most 31 */
        CONFIG_DEVICE,   /**< const char *: a network device's name, at most 15 */
        CONFIG_TEXT,     /**< const char *: any text */
        CONFIG_LINK,     /**< const char *: http:// or https:// URL, of any host */
        CONFIG_FILE,     /**< const char *: an absolute file name */
        CONFIG_TIME,     /**< int64_t, nanoseconds */
        CONFIG_SHARE,    /**< double, 0..1 */
        CONFIG_SIZE,     /**< uint64_t, bytes */
        CONFIG_RATE,     /**< double, bits per second */
        CONFIG_NUMBER,   /**< double */
        CONFIG_INTEGER,  /**< int64_t */
        CONFIG_CHOICE,   /**< int64_t: the place of the word in `choice` */
        CONFIG_PROTOCOL, /**< int64_t: IP protocol by name or number */
        CONFIG_IPV4,     /**< uint32_t, host byte order */
        CONFIG_NET,      /**< struct dog_config_prefix: an address with a prefix length */
        CONFIG_PREFIXES, /**< struct dog_config_prefix *: one or a list; bits below the length are 0 */
        CONFIG_PORTS,    /**< struct dog_config_range *: one or a list of 5060 or 10000-20000 */
        CONFIG_DSCPS,    /**< uint8_t *: one or a list of ef, af41, cs5 or 0..63 */
        CONFIG_ADDRESS,  /**< struct dog_config_address: IPv4 or IPv6, no prefix */
        CONFIG_URL,      /**< const char *: http://ADDRESS:PORT/PATH, the address in figures */
        CONFIG_WORDS,    /**< struct dog_config_word *: one name or a list */
        CONFIG_DEVICES,  /**< struct dog_config_word *: one network device or a list */
        CONFIG_SEATS,    /**< struct dog_config_seat *: one or a list of NAME or NAME:PORT */
        CONFIG_SECTION,  /**< a struct inside: a mapping */
        CONFIG_LIST,     /**< a pointer to structs: a list of mappings */
};

struct config_section;

struct config_key {
        const char *name;
        enum config_type type;
        size_t offset;
        size_t count_offset; /**< lists: where the size_t is */
        size_t where_offset; /**< struct dog_config_where of the value; 0: not kept */
        const char *preset;  /**< as it would be written; NULL: must be given; "": none */
        const char *min,
                *max;     /**< as they would be written; lists: max is the most entries; NULL: no limit */
        const char *word; /**< a word that may stand instead of a value */
        int word_value;   /**< ... and what is stored then */
        const char *const *choice; /**< CONFIG_CHOICE: ends with NULL */
        const struct config_section *section;
        const char *help;
};

struct config_section {
        const char *what;  /**< "a tunnel" */
        const char *place; /**< how to get there, for the manual: "tunnels[].paths[]" */
        size_t size;       /**< of the struct */
        const struct config_key *key;
        size_t keys;
        const char *help;
};

/** The whole configuration; all others hang below it. */
extern const struct config_section dog_config_root;

/** The name of a type for people, with its units: "time", "IPv4 address". */
const char *dog_config_type_name(enum config_type type);
