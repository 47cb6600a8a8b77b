// A lane of the bitmap decoder.  Its stream is, group after group of 16 codes, the group's mask and
// the fields of its ones.
//
// A cycle takes up to 4 fields; a group takes a cycle for each 4 of its ones, at least one, and in
// the last of them the next mask is loaded too.

module decoder_lane_bitmap #(
    parameter QUEUE_GROUPS = 8
) (
    input  wire         clk,
    input  wire         reset,
    input  wire         start,
    input  wire [31:0]  count,
    input  wire [3:0]   width,
    input  wire         use_table,
    input  wire         table_write,
    input  wire [1:0]   table_index,
    input  wire [511:0] table_values,
    input  wire         word_valid,
    output wire         word_ready,
    input  wire [63:0]  word,
    output wire         group_valid,
    input  wire         group_ready,
    output wire [127:0] group,
    output wire [4:0]   group_count,
    output wire         idle_next
);
    /* verilator no_inline_module */  // one compiled body for all lanes
    reg running, has_mask;
    reg [31:0] unmasked;   // codes whose mask has not been loaded
    reg [15:0] mask;
    reg [4:0] codes_in_group;
    reg [127:0] partial, filled;
    wire [47:0] bits;
    wire [7:0] level;
    wire [15:0] rest;
    wire [3:0] slot_valid;
    wire [15:0] slot_index;
    wire [31:0] fields, codes;
    wire room, empty_next;

    nonzero_pick #(.WIDTH(16), .SLOTS(4), .INDEX_BITS(4)) pick (
        .mask(mask), .rest(rest), .slot_valid(slot_valid), .slot_index(slot_index)
    );

    wire [2:0] num_fields = 3'(slot_valid[0]) + 3'(slot_valid[1]) + 3'(slot_valid[2])
        + 3'(slot_valid[3]);
    wire [6:0] field_bits = 7'(num_fields) * 7'(width);
    wire ends_group = has_mask && rest == 0;
    wire advance = has_mask && level >= {1'b0, field_bits}
        && (!ends_group || room);
    wire [6:0] used = advance ? field_bits : 0;
    wire load = running && unmasked != 0 && (!has_mask || (advance && ends_group))
        && level >= {1'b0, used} + 8'd16;
    wire [15:0] next_mask = 16'(bits >> used);

    bit_window #(.LOOK(48)) window (
        .clk(clk), .clear(reset || start), .discard(!running), .word_valid(word_valid),
        .word_ready(word_ready), .word(word), .take(load ? used + 7'd16 : used), .level(level),
        .bits(bits)
    );
    genvar f;
    generate
        for (f = 0; f < 4; f = f + 1) begin : field
            assign fields[f*8 +: 8] = 8'(bits >> (7'(width) * 7'(f)));
        end
    endgenerate
    field_values #(.FIELDS(4)) meaning (
        .clk(clk), .table_write(table_write), .table_index(table_index),
        .table_values(table_values), .use_table(use_table), .width(width), .fields(fields),
        .codes(codes)
    );

    integer i;
    always @(*) begin
        filled = partial;
        for (i = 0; i < 4; i = i + 1)
            if (slot_valid[i]) filled[{slot_index[i*4 +: 4], 3'b0} +: 8] = codes[i*8 +: 8];
    end

    wire finished = unmasked == 0 && (!has_mask || (advance && ends_group));
    assign idle_next = !running && empty_next;

    group_queue #(.DEPTH(QUEUE_GROUPS)) queue (
        .clk(clk), .reset(reset), .push(advance && ends_group), .push_group(filled),
        .push_count(codes_in_group), .room(room), .empty_next(empty_next),
        .group_valid(group_valid), .group_ready(group_ready), .group(group),
        .group_count(group_count)
    );

    always @(posedge clk)
        if (reset) begin
            running <= 1'b0;
            has_mask <= 1'b0;
        end else if (start) begin
            running <= count != 0;
            unmasked <= count;
            has_mask <= 1'b0;
            partial <= 0;
        end else begin
            if (finished) running <= 1'b0;
            if (advance) begin
                mask <= rest;
                partial <= ends_group ? 0 : filled;
            end
            if (load) begin
                mask <= next_mask;
                codes_in_group <= unmasked > 16 ? 5'd16 : unmasked[4:0];
                unmasked <= unmasked > 16 ? unmasked - 16 : 0;
            end
            has_mask <= load || (has_mask && !(advance && ends_group));
        end
endmodule
