// What fields mean: the code itself in two's complement, or its index in the palette.
//
// Each lane holds a copy of the table, written by all at once; copies are what gives a table its
// many read ports.  64 entries, a burst, are written at a time.

module field_values #(
    parameter FIELDS = 4
) (
    input  wire                clk,
    input  wire                table_write,
    input  wire [1:0]          table_index,
    input  wire [511:0]        table_values,
    input  wire                use_table,
    input  wire [3:0]          width,
    input  wire [FIELDS*8-1:0] fields,
    output reg  [FIELDS*8-1:0] codes
);
    reg [511:0] values [0:3];
    reg [7:0] low, sign;
    integer i;

    always @(posedge clk)
        if (table_write) values[table_index] <= table_values;

    always @(*)
        for (i = 0; i < FIELDS; i = i + 1) begin
            low = fields[i*8 +: 8] & ~(8'hff << width);
            sign = (width == 0) ? 0 : (8'h01 << (width - 1'b1));
            codes[i*8 +: 8] = use_table
                ? values[low[7:6]][{low[5:0], 3'b0} +: 8] : (low ^ sign) - sign;
        end
endmodule
