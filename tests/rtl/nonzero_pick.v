// Picks the first SLOTS ones of a mask: the zero detector in front of a lane's multipliers.

module nonzero_pick #(
    parameter WIDTH = 8,
    parameter SLOTS = 2,
    parameter INDEX_BITS = 3
) (
    input  wire [WIDTH-1:0]            mask,
    output reg  [WIDTH-1:0]            rest,
    output reg  [SLOTS-1:0]            slot_valid,
    output reg  [SLOTS*INDEX_BITS-1:0] slot_index
);
    integer i;
    integer used;

    always @(*) begin
        rest = mask;
        slot_valid = 0;
        slot_index = 0;
        used = 0;
        for (i = 0; i < WIDTH; i = i + 1)
            if (mask[i] && used < SLOTS) begin
                rest[i] = 1'b0;
                slot_valid[used] = 1'b1;
                slot_index[used*INDEX_BITS +: INDEX_BITS] = i[INDEX_BITS-1:0];
                used = used + 1;
            end
    end
endmodule
