// Drives one job of the inner MAC array: fills the banks, hands over windows, collects sums.
#include "bench.h"

extern "C" int64_t run(int64_t windows, int64_t passes, int64_t rows, int64_t word_bytes,
                       const uint8_t* weights, int64_t window_bytes, const uint8_t* activations,
                       const uint8_t* tail, int64_t stall_period, const uint8_t* stall,
                       int64_t limit, int32_t* sums) {
    Bench bench;
    Vtop& top = bench.top;
    top.job_valid = 0;
    top.act_valid = 0;
    const int64_t words = windows * passes;
    fill_banks(bench, LANES, WINDOW * WEIGHT_BITS, BANK_BITS - 1, words, word_bytes, weights);
    put(top.job_tail, tail, 8);
    top.job_windows = windows;
    top.job_passes = passes;
    top.job_rows = rows;
    top.job_base = 0;
    top.job_valid = 1;
    bench.step();
    top.job_valid = 0;

    int64_t sent = 0, first = -1;
    int64_t written[LANES] = {0};
    const int64_t in_row = windows;
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        const int64_t row = sent / words, window = sent % in_row;
        top.act_valid = sent < words * rows && !stall[cycle % stall_period];
        if (top.act_valid)
            put(top.act_data, activations + (row * windows + window) * window_bytes, window_bytes);
        bench.settle();
        if (first < 0 && top.act_ready) first = cycle;
        const bool pushed = top.act_valid && top.act_ready;
        uint64_t valid = 0;
        int32_t data[LANES];
        get(top.sum_valid, &valid, sizeof(top.sum_valid));
        get(top.sum_data, data, sizeof(data));
        for (int lane = 0; lane < LANES; ++lane)
            if (valid >> lane & 1) {
                const int64_t row_of = written[lane] / passes, pass = written[lane] % passes;
                sums[(row_of * passes + pass) * LANES + lane] = data[lane];
                ++written[lane];
            }
        if (top.job_done) return cycle - first + 1;
        bench.step();
        sent += pushed;
    }
    return -1;
}
