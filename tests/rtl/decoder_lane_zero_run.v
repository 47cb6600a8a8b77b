// A lane of the zero_run decoder.  Its stream is entries: 4 bits of run, then the code's field.
//
// A cycle takes one entry, padding included.  Codes collect in a group of 16; an entry moves by at
// most 16 codes, so that it completes at most one group, and the lane's last group, if it is a part
// of one that the last entry has begun, leaves a cycle later.

module decoder_lane_zero_run #(
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
    reg running, flush;
    reg [31:0] left;       // codes that no entry has stood for yet
    reg [3:0] position;    // codes in the group so far
    reg [127:0] partial;
    wire [11:0] bits;
    wire [7:0] level;
    wire [7:0] code;

    wire [3:0] run = bits[3:0];
    wire [4:0] place = {1'b0, position} + {1'b0, run};
    // A run may reach beyond the lane's codes; what follows it is then another lane's.
    wire beyond = left <= 32'(run);
    wire [5:0] after = beyond ? 6'(position) + 6'(left[3:0]) : {1'b0, place} + 6'd1;
    wire [6:0] entry_bits = 7'd4 + 7'(width);
    wire fills = after >= 16;
    wire is_last = left <= 32'(run) + 1;
    wire room, empty_next;
    wire advance = running && left != 0 && level >= {1'b0, entry_bits}
        && (room || !(fills || is_last));
    wire emit = advance ? fills || is_last : flush && room;

    bit_window #(.LOOK(12)) window (
        .clk(clk), .clear(reset || start), .discard(!running), .word_valid(word_valid),
        .word_ready(word_ready), .word(word), .take(advance ? entry_bits : 7'd0), .level(level),
        .bits(bits)
    );
    field_values #(.FIELDS(1)) meaning (
        .clk(clk), .table_write(table_write), .table_index(table_index),
        .table_values(table_values), .use_table(use_table), .width(width), .fields(bits[11:4]),
        .codes(code)
    );

    wire [255:0] placed = {248'b0, beyond ? 8'b0 : code} << {place, 3'b0};
    wire flushes = advance && is_last && fills && after != 16;
    assign idle_next = !running && empty_next;

    group_queue #(.DEPTH(QUEUE_GROUPS)) queue (
        .clk(clk), .reset(reset), .push(emit),
        .push_group(advance ? partial | placed[127:0] : partial),
        .push_count((advance && fills) ? 5'd16 : advance ? after[4:0] : {1'b0, position}),
        .room(room), .empty_next(empty_next), .group_valid(group_valid),
        .group_ready(group_ready), .group(group), .group_count(group_count)
    );

    always @(posedge clk)
        if (reset) begin
            running <= 1'b0;
            flush <= 1'b0;
        end else if (start) begin
            running <= count != 0;
            left <= count;
            position <= 0;
            partial <= 0;
            flush <= 1'b0;
        end else begin
            if (advance) begin
                left <= is_last ? 0 : left - 32'(run) - 1;
                position <= after[3:0];
                partial <= fills ? placed[255:128] : partial | placed[127:0];
            end
            flush <= flushes || (flush && !room);
            if ((advance && is_last && !flushes) || (flush && room)) running <= 1'b0;
        end
endmodule
