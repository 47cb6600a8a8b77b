// Drives one job of the inner MAC array: fills the banks, hands over windows, collects sums.
#include "bench.h"

#include <vector>

extern "C" int64_t run(int64_t windows, int64_t passes, int64_t rows, int64_t word_bytes,
                       const uint8_t* weights, int64_t window_bytes, const uint8_t* activations,
                       const uint8_t* tail, int64_t stall_period, const uint8_t* stall,
                       int64_t limit, int32_t* sums) {
    Bench bench;
    Vtop& top = bench.top;
    top.job_valid = 0;
    top.act_valid = 0;
    const int64_t words = windows * passes;
    const int bits = WINDOW * WEIGHT_BITS, address_bits = BANK_BITS - 1;
    const auto set = [](std::vector<uint8_t>& to, int at, int bit) { to[at / 8] |= bit << at % 8; };
    for (int64_t word = 0; word < words; ++word) {
        std::vector<uint8_t> enable(2 * LANES / 8 + 8), address(2 * LANES * address_bits / 8 + 8),
            data(2 * LANES * bits / 8 + 8);
        for (int lane = 0; lane < LANES; ++lane) {
            const int bank = 2 * lane + word % 2;
            set(enable, bank, 1);
            for (int bit = 0; bit < address_bits; ++bit)
                set(address, bank * address_bits + bit, word / 2 >> bit & 1);
            for (int bit = 0; bit < bits; ++bit) {
                const int from = lane * bits + bit;
                set(data, bank * bits + bit,
                    weights[word * word_bytes + from / 8] >> from % 8 & 1);
            }
        }
        put(top.write_enable, enable.data(), enable.size());
        put(top.write_address, address.data(), address.size());
        put(top.write_data, data.data(), data.size());
        bench.step();
    }
    put(top.write_enable, "", 0);
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
