// Drives a sequence of tiles through the pipeline: offers each, gives the bursts that the memory
// ends and the activation windows that the array takes, and collects sums.
#include "bench.h"

extern "C" int64_t run(int64_t tiles, const int64_t* first_burst, const int64_t* bursts,
                       const int64_t* table_bursts, const int64_t* rows_of_lane,
                       const int64_t* groups, const int64_t* width, const int64_t* passes,
                       int64_t activation_rows, const uint8_t* image, const int8_t* activations,
                       const int64_t* first_activation, const int64_t* dram,
                       int64_t stall_period, const uint8_t* stall, int64_t limit, int32_t* sums) {
    Bench bench;
    Vtop& top = bench.top;
    top.ticks = dram[0];
    top.burst = dram[1];
    top.latency = dram[2];
    top.row_bursts = dram[3];
    top.row_miss = dram[4];
    top.refresh_every = dram[5];
    top.refresh = dram[6];
    top.tile_valid = 0;
    top.act_valid = 0;
    top.reset = 1;
    bench.step();
    top.reset = 0;
    const int64_t burst_bytes = DECODER_LANES * WORDS * 8;
    int64_t tile = 0, used = 0, row = 0, pass = 0, window = 0, done = 0, written[LANES] = {0};
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        top.tile_valid = tile < tiles;
        if (tile < tiles) {
            top.tile_first_burst = first_burst[tile];
            top.tile_bursts = bursts[tile];
            top.tile_table_bursts = table_bursts[tile];
            top.tile_rows_of_lane = rows_of_lane[tile];
            top.tile_groups = groups[tile];
            top.tile_width = width[tile];
            top.tile_passes = passes[tile];
            top.tile_activation_rows = activation_rows;
        }
        top.stall = stall[cycle % stall_period];
        if (top.data_valid) put(top.data, image + top.data_burst * burst_bytes, burst_bytes);
        top.act_valid = used < tiles;
        if (used < tiles)
            put(top.act_data,
                activations + first_activation[used] + (row * groups[used] + window) * 16, 16);
        bench.settle();
        uint64_t valid = 0;
        int32_t data[LANES];
        get(top.sum_valid, &valid, sizeof(top.sum_valid));
        get(top.sum_data, data, sizeof(data));
        for (int lane = 0; lane < LANES; ++lane)
            if (valid >> lane & 1) sums[written[lane]++ * LANES + lane] = data[lane];
        if (top.job_done && ++done == tiles) return cycle + 1;
        const bool begins = top.tile_valid && top.tile_ready;
        const bool pushed = top.act_valid && top.act_ready;
        bench.step();
        tile += begins;
        if (pushed && ++window == groups[used]) {
            window = 0;
            if (++pass == passes[used]) {
                pass = 0;
                if (++row == activation_rows) {
                    row = 0;
                    ++used;
                }
            }
        }
    }
    return -1;
}
