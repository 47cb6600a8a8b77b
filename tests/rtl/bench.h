// What the drivers share: wide ports as bytes, and the clock.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>

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
