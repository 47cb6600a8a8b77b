// A copy of what the lanes know of rows and columns, for as many lanes as a memory has ports.
// A row, from bit 0: codes of flags, masks and values (5 each), dead zone (7).  A group of 16
// columns: codes of its flag, of 4 masks, of 16 values (5 each).

module tans_contexts #(
    parameter PORTS = 2,
    parameter ROW_BITS = 12,
    parameter PLACE_BITS = 8
) (
    input  wire                        clk,
    input  wire                        row_write,
    input  wire [ROW_BITS-1:0]         row_index,
    input  wire [21:0]                 row_context,
    input  wire                        column_write,
    input  wire [PLACE_BITS-1:0]       column_index,
    input  wire [104:0]                column_context,
    input  wire [PORTS*ROW_BITS-1:0]   rows,
    input  wire [PORTS*PLACE_BITS-1:0] places,
    output wire [PORTS*22-1:0]         row_contexts,
    output wire [PORTS*105-1:0]        column_contexts
);
    /* verilator no_inline_module */
    reg [21:0] row_memory [0:(1<<ROW_BITS)-1];
    reg [104:0] column_memory [0:(1<<PLACE_BITS)-1];

    always @(posedge clk) begin
        if (row_write) row_memory[row_index] <= row_context;
        if (column_write) column_memory[column_index] <= column_context;
    end

    genvar port;
    generate
        for (port = 0; port < PORTS; port = port + 1) begin : ports
            assign row_contexts[port*22 +: 22] = row_memory[rows[port*ROW_BITS +: ROW_BITS]];
            assign column_contexts[port*105 +: 105] =
                column_memory[places[port*PLACE_BITS +: PLACE_BITS]];
        end
    endgenerate
endmodule
