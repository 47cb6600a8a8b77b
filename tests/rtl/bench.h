// What the drivers share: wide ports as bytes, and the clock.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

template <typename Port>
void put(Port& port, const void* bytes, size_t count) {
    std::memset(&port, 0, sizeof(port));
    std::memcpy(&port, bytes, count < sizeof(port) ? count : sizeof(port));
}

template <typename Port>
void get(const Port& port, void* bytes, size_t count) {
    std::memcpy(bytes, &port, count);
}

// One design with its own context, in reset for two cycles.
struct Bench {
    VerilatedContext context;
    Vtop top{&context};

    Bench() {
        top.clk = 0;
        top.reset = 1;
        for (int i = 0; i < 2; ++i) step();
        top.reset = 0;
    }
    // Inputs are set: let them settle, so that outputs of this cycle can be read.
    void settle() { top.eval(); }
    void step() {
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
    }
    ~Bench() { top.final(); }
};

// Writes the words of a tile, a word of each lane at once, even and odd ones to a bank each.
template <typename B>
void fill_banks(B& bench, int lanes, int bits, int address_bits, int64_t words, int64_t word_bytes,
                const uint8_t* weights) {
    auto& top = bench.top;
    const auto set = [](std::vector<uint8_t>& to, int at, int bit) { to[at / 8] |= bit << at % 8; };
    for (int64_t word = 0; word < words; ++word) {
        std::vector<uint8_t> enable(2 * lanes / 8 + 8), address(2 * lanes * address_bits / 8 + 8),
            data(2 * lanes * bits / 8 + 8);
        for (int lane = 0; lane < lanes; ++lane) {
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
}
