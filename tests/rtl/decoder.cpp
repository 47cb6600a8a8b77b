// Drives one block through the decoder: gives each lane its words, takes what the port writes.
#include "bench.h"

extern "C" int64_t run(int64_t count, int64_t segment, int64_t width, int64_t entries,
                       const uint8_t* table, const int64_t* num_words, int64_t pitch_words,
                       const uint64_t* words, int64_t stall_period, const uint64_t* stall,
                       int64_t limit, int8_t* codes) {
    Bench bench;
    Vtop& top = bench.top;
    top.job_valid = 0;
    put(top.word_valid, "", 0);
    for (int64_t i = 0; i < entries; i += 64) {
        top.table_write = 1;
        top.table_index = i / 64;
        put(top.table_values, table + i, entries - i < 64 ? entries - i : 64);
        bench.step();
    }
    uint8_t banks[LANES];  // a bank for each lane: no conflicts here
    for (int lane = 0; lane < LANES; ++lane) banks[lane] = lane;
    put(top.write_banks, banks, LANES);
    top.table_write = 0;
    top.job_count = count;
    top.job_segment = segment;
    top.job_width = width;
    top.job_use_table = entries > 0;
    top.job_valid = 1;
    bench.step();
    top.job_valid = 0;
    int64_t sent[LANES] = {0}, written[LANES] = {0};
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        uint64_t valid = 0, ready = 0, writes = 0, input[LANES] = {0};
        for (int lane = 0; lane < LANES; ++lane)
            if (sent[lane] < num_words[lane] && !(stall[cycle % stall_period] >> lane & 1)) {
                valid |= 1ull << lane;
                input[lane] = words[lane * pitch_words + sent[lane]];
            }
        put(top.word_valid, &valid, sizeof(valid));
        put(top.words, input, sizeof(input));
        bench.settle();
        get(top.word_ready, &ready, sizeof(top.word_ready));
        get(top.write, &writes, sizeof(top.write));
        uint8_t groups[LANES * 16], counts[LANES * 5 + 8] = {0};
        get(top.write_groups, groups, sizeof(groups));
        get(top.write_counts, counts, sizeof(top.write_counts));
        for (int lane = 0; lane < LANES; ++lane) {
            sent[lane] += valid >> lane & ready >> lane & 1;
            if (!(writes >> lane & 1)) continue;
            const int bit = lane * 5;
            const int number = (counts[bit / 8] | counts[bit / 8 + 1] << 8) >> bit % 8 & 31;
            for (int i = 0; i < number; ++i) {
                const int64_t at = lane * segment + written[lane] + i;
                if (at < count) codes[at] = groups[lane * 16 + i];
            }
            written[lane] += number;
        }
        if (top.job_done) return cycle + 1;
        bench.step();
    }
    return -1;
}
