// Drives one job of the outer MAC array: fills banks and activation SRAM, reads the sums.
#include "bench.h"

extern "C" int64_t run(int64_t columns, int64_t outputs, int64_t scans, int64_t rows,
                       int64_t word_bytes, const uint8_t* weights, const uint16_t* activations,
                       int64_t stall_period, const uint8_t* stall, int64_t limit,
                       int32_t* sums) {
    Bench bench;
    Vtop& top = bench.top;
    top.job_valid = 0;
    top.act_write_enable = 0;
    top.act_stall = 0;
    top.job_base = 0;
    top.job_first_row = 0;
    fill_banks(bench, LANES, WINDOW * WEIGHT_BITS, BANK_BITS - 1, columns * scans, word_bytes,
               weights);
    top.act_write_enable = 1;
    for (int64_t i = 0; i < rows * columns; ++i) {
        top.act_write_row = i / columns;
        top.act_write_column = i % columns;
        top.act_write_data = activations[i];
        bench.step();
    }
    top.act_write_enable = 0;
    top.job_rows = rows;
    top.job_columns = columns;
    top.job_outputs = outputs;
    top.job_scans = scans;
    top.job_valid = 1;
    bench.step();
    top.job_valid = 0;
    for (int64_t cycle = 0; cycle < limit; ++cycle) {
        top.act_stall = stall[cycle % stall_period];
        bench.settle();
        if (top.job_done) {
            bench.step();
            for (int64_t word = 0; word < rows * scans; ++word) {
                top.sum_address = word;
                bench.settle();
                get(top.sum_data, sums + word * LANES * WINDOW, LANES * WINDOW * 4);
            }
            return cycle + 1;
        }
        bench.step();
    }
    return -1;
}
