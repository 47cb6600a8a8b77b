// Drives transfers on three channels: each is offered from its own cycle on, in order.
#include "bench.h"

extern "C" int64_t run(int64_t count, const int64_t* channel, const int64_t* first,
                       const int64_t* bursts, const int64_t* work, const int64_t* offered,
                       const int64_t* dram, int64_t closes_rows, int64_t stall_period,
                       const uint8_t* stall, int64_t limit, int64_t* ends) {
    Bench bench;
    Vtop& top = bench.top;
    top.ticks = dram[0];
    top.burst = dram[1];
    top.latency = dram[2];
    top.row_bursts = dram[3];
    top.row_miss = dram[4];
    top.refresh_every = dram[5];
    top.refresh = dram[6];
    top.refresh_closes_rows = closes_rows;
    top.job_valid = 0;
    top.reset = 1;
    bench.step();
    top.reset = 0;
    int64_t next[3], current[3] = {-1, -1, -1}, ended = 0;
    const auto advance = [&](int c) {
        do ++next[c];
        while (next[c] < count && channel[next[c]] != c);
    };
    for (int c = 0; c < 3; ++c) {
        next[c] = -1;
        advance(c);
    }
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        uint32_t one[3] = {0}, many[3] = {0}, cycles[3] = {0};
        uint8_t valid = 0;
        for (int c = 0; c < 3; ++c) {
            const int64_t i = next[c];
            if (i >= count || cycle < offered[i]) continue;
            valid |= 1 << c;
            one[c] = first[i];
            many[c] = bursts[i];
            cycles[c] = work[i];
        }
        top.job_valid = valid;
        top.stall = stall[cycle % stall_period];
        put(top.job_first, one, sizeof(one));
        put(top.job_count, many, sizeof(many));
        put(top.job_work, cycles, sizeof(cycles));
        bench.settle();
        for (int c = 0; c < 3; ++c) {
            if (top.job_done >> c & 1) {
                ends[current[c]] = cycle;
                if (++ended == count) return cycle;
            }
            if (valid >> c & top.job_ready >> c & 1) {
                current[c] = next[c];
                advance(c);
            }
        }
        bench.step();
    }
    return -1;
}
