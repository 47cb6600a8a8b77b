// A copy of the decoding tables, for as many lanes as a memory has ports.
// An entry, from bit 0: next state's base (10), its bits (4), raw bits (3), whether the lowest of
// them is a sign, whether the symbol says minus, and the least value, or the mask, or the flag (7).

module tans_tables #(
    parameter PORTS = 2
) (
    input  wire                clk,
    input  wire                write,
    input  wire [10:0]         write_index,
    input  wire [25:0]         write_entry,
    input  wire [PORTS*11-1:0] indices,
    output wire [PORTS*26-1:0] entries
);
    /* verilator no_inline_module */
    reg [25:0] memory [0:2047];

    always @(posedge clk) if (write) memory[write_index] <= write_entry;

    genvar port;
    generate
        for (port = 0; port < PORTS; port = port + 1) begin : ports
            assign entries[port*26 +: 26] = memory[indices[port*11 +: 11]];
        end
    endgenerate
endmodule
