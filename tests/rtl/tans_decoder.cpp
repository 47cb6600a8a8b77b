// Drives one block through the lane_tans decoder: tables, contexts and lanes first, then words.
#include "bench.h"

namespace {
constexpr int64_t kEntries = 2048, kSetup = 5, kColumnBytes = 14;

template <typename Port>
uint32_t field(const Port& port, int lane, int width) {
    uint8_t bytes[sizeof(port) + 8] = {0};
    get(port, bytes, sizeof(port));
    uint64_t word;
    std::memcpy(&word, bytes + lane * width / 8, 8);
    return word >> lane * width % 8 & ((1u << width) - 1);
}
}  // namespace

// `job`: log, lanes, rows, columns, groups a row, codes of a row's last group, step in rows and
// groups, flags, masks, values, first tables.  `setup`: words, bits, odd bits, row, group.
extern "C" int64_t run(const int64_t* job, const uint8_t* ends, int64_t num_entries,
                       const uint32_t* entries, const uint32_t* rows, const uint8_t* columns,
                       const int64_t* setup, int64_t num_words, const uint32_t* words,
                       int64_t stall_period, const uint8_t* stall, int64_t limit, int8_t* codes) {
    Bench bench;
    Vtop& top = bench.top;
    top.job_valid = top.bus_valid = top.row_write = top.column_write = top.lane_write = 0;
    top.table_write = 1;
    for (int64_t i = 0; i < num_entries && i < kEntries; ++i) {
        top.table_index = i;
        top.table_entry = entries[i];
        bench.step();
    }
    top.table_write = 0;
    top.row_write = 1;
    for (int64_t i = 0; i < job[2]; ++i) {
        top.row_index = i;
        top.row_context = rows[i];
        bench.step();
    }
    top.row_write = 0;
    top.column_write = 1;
    for (int64_t i = 0; i < job[4]; ++i) {
        top.column_index = i;
        put(top.column_context, columns + i * kColumnBytes, kColumnBytes);
        bench.step();
    }
    top.column_write = 0;
    top.lane_write = 1;
    for (int64_t i = 0; i < LANES; ++i) {
        top.lane_index = i;
        top.lane_words = setup[i * kSetup];
        top.lane_bits = setup[i * kSetup + 1];
        top.lane_odd = setup[i * kSetup + 2];
        top.lane_row = setup[i * kSetup + 3];
        top.lane_place = setup[i * kSetup + 4];
        bench.step();
    }
    top.lane_write = 0;
    top.job_log = job[0];
    top.job_lanes = job[1];
    top.job_rows = job[2];
    top.job_per_row = job[4];
    top.job_tail = job[5];
    top.job_step_rows = job[6];
    top.job_step_places = job[7];
    top.job_has_flags = job[8];
    top.job_has_masks = job[9];
    top.job_has_values = job[10];
    top.job_first_tables = job[11];
    put(top.job_ends, ends, 16);
    top.job_valid = 1;
    bench.step();
    top.job_valid = 0;
    int64_t sent = 0;
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        uint32_t beat[BUS_WORDS];  // what follows the last word is anything
        for (int i = 0; i < BUS_WORDS; ++i)
            beat[i] = sent + i < num_words ? words[sent + i] : 0xdeadbeef;
        top.bus_valid = sent < num_words && !stall[cycle % stall_period];
        put(top.bus_data, beat, sizeof(beat));
        bench.settle();
        if (top.bus_valid && top.bus_ready) sent += BUS_WORDS;
        uint8_t groups[LANES * 16];
        get(top.write_groups, groups, sizeof(groups));
        for (int lane = 0; lane < LANES; ++lane) {
            if (!field(top.write, lane, 1)) continue;
            const int64_t row = field(top.write_rows, lane, 13);
            const int64_t column = field(top.write_places, lane, 8) * 16;
            const int64_t number = field(top.write_counts, lane, 5);
            for (int64_t i = 0; i < number && row < job[2] && column + i < job[3]; ++i)
                codes[row * job[3] + column + i] = groups[lane * 16 + i];
        }
        if (top.job_done) return cycle + 1;
        bench.step();
    }
    return -1;
}
