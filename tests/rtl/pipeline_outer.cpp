// Drives a sequence of tiles through the pipeline with the outer array: fills activation SRAM,
// offers each tile, gives the bursts that the memory ends, and reads each tile's sums.
#include "bench.h"

extern "C" int64_t run(int64_t tiles, const int64_t* first_burst, const int64_t* bursts,
                       const int64_t* table_bursts, const int64_t* rows_of_lane,
                       const int64_t* groups, const int64_t* width, const int64_t* columns,
                       const int64_t* outputs, const int64_t* scans, int64_t activation_rows,
                       const uint8_t* image, const int8_t* activations,
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
    top.stall = 1;
    top.act_write_enable = 1;
    for (int64_t tile = 0; tile < tiles; ++tile)
        for (int64_t i = 0; i < activation_rows * columns[tile]; ++i) {
            top.act_write_row = tile * activation_rows + i / columns[tile];
            top.act_write_column = i % columns[tile];
            top.act_write_data = activations[first_activation[tile] + i];
            bench.step();
        }
    top.act_write_enable = 0;
    top.reset = 1;
    bench.step();
    top.reset = 0;
    const int64_t burst_bytes = DECODER_LANES * WORDS * 8;
    int64_t tile = 0, done = 0;
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        top.tile_valid = tile < tiles;
        if (tile < tiles) {
            top.tile_first_burst = first_burst[tile];
            top.tile_bursts = bursts[tile];
            top.tile_table_bursts = table_bursts[tile];
            top.tile_rows_of_lane = rows_of_lane[tile];
            top.tile_groups = groups[tile];
            top.tile_width = width[tile];
            top.tile_activation_rows = activation_rows;
            top.tile_first_row = tile * activation_rows;
            top.tile_columns = columns[tile];
            top.tile_outputs = outputs[tile];
            top.tile_scans = scans[tile];
        }
        top.stall = stall[cycle % stall_period];
        if (top.data_valid) put(top.data, image + top.data_burst * burst_bytes, burst_bytes);
        bench.settle();
        const bool begins = top.tile_valid && top.tile_ready, ends = top.job_done;
        bench.step();
        tile += begins;
        if (!ends) continue;
        for (int64_t word = 0; word < activation_rows * scans[done]; ++word) {
            top.sum_address = word;
            bench.settle();
            get(top.sum_data, sums, LANES * 16 * 4);
            sums += LANES * 16;
        }
        if (++done == tiles) return cycle + 1;
    }
    return -1;
}
