/* What is known about ids, and the reasons that follow from it. */
#ifndef CONSENTGATE_FACTS_H
#define CONSENTGATE_FACTS_H

#include "ids.h"
#include "kernel.h"

/* What is known about up to TILE ids, and what follows from it for messages. */
struct found {
    struct keys keys;
    uint64_t facts[TILE];
    uint32_t bits[TILE];
};

/* Look up ids, and add the reasons that do not depend on the message. Those of nulls are not right
 * until judge_nulls is called. */
int32_t find_ids(const struct cg_facts *facts, const struct cg_ids *ids, int64_t first,
                 int64_t count, struct found *found);

/* Add `reason` to each id whose instant is later than its time. `times` holds a time for each id. */
void add_later(const struct cg_facts *facts, const struct cg_instants *instants,
               const int64_t *times, int64_t count, uint32_t reason, struct found *found);

/* Give nulls their only reason, whatever is in their place. */
void judge_nulls(const struct cg_facts *facts, int64_t count, struct found *found);

#endif
