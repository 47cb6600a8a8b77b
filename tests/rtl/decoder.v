// Decoder: lanes that each decode a segment of a block from their own stream, and the write port of
// the weight SRAM.
//
// A job is taken in cycle t; lanes ask for words from t + 1, and job_done is in the cycle of the
// last write.  Words that come to a lane after its last code are dropped.

module decoder #(
    parameter LANES = 4,
    parameter PORT_CODES = 64,
    parameter QUEUE_GROUPS = 8,
    parameter IS_ZERO_RUN = 0,
    parameter BANK_BITS = 8
) (
    input  wire                 clk,
    input  wire                 reset,
    input  wire                 job_valid,
    output wire                 job_ready,
    input  wire [31:0]          job_count,
    input  wire [31:0]          job_segment,
    input  wire [3:0]           job_width,
    input  wire                 job_use_table,
    output wire                 job_done,
    input  wire                 table_write,
    input  wire [1:0]           table_index,
    input  wire [511:0]         table_values,
    input  wire [LANES-1:0]     word_valid,
    output wire [LANES-1:0]     word_ready,
    input  wire [LANES*64-1:0]  words,
    output wire [LANES-1:0]     write,
    output wire [LANES*128-1:0] write_groups,
    output wire [LANES*5-1:0]   write_counts,
    // Bank of the weight SRAM that each lane's next group goes to: a bank takes one a cycle.
    input  wire [LANES*BANK_BITS-1:0] write_banks
);
    reg busy;
    wire [LANES-1:0] group_valid, idle_next, lane_ready;
    wire start = job_valid && job_ready;

    assign job_ready = !busy;
    assign word_ready = busy ? lane_ready : 0;
    assign job_done = busy && (&idle_next);

    always @(posedge clk)
        if (reset) busy <= 1'b0;
        else busy <= start || (busy && !job_done);

    write_port #(.LANES(LANES), .PORT_CODES(PORT_CODES), .BANK_BITS(BANK_BITS)) port (
        .clk(clk), .clear(reset || start), .group_valid(group_valid), .counts(write_counts),
        .banks(write_banks), .write(write)
    );

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            wire [31:0] first = job_segment * lane;
            wire [31:0] beyond = job_count > first ? job_count - first : 0;
            wire [31:0] count = beyond > job_segment ? job_segment : beyond;
            if (IS_ZERO_RUN != 0) begin : kind
                decoder_lane_zero_run #(.QUEUE_GROUPS(QUEUE_GROUPS)) lane_i (
                    .clk(clk), .reset(reset), .start(start), .count(count), .width(job_width),
                    .use_table(job_use_table), .table_write(table_write),
                    .table_index(table_index), .table_values(table_values),
                    .word_valid(word_valid[lane]), .word_ready(lane_ready[lane]),
                    .word(words[lane*64 +: 64]), .group_valid(group_valid[lane]),
                    .group_ready(write[lane]), .group(write_groups[lane*128 +: 128]),
                    .group_count(write_counts[lane*5 +: 5]), .idle_next(idle_next[lane])
                );
            end else begin : kind
                decoder_lane_bitmap #(.QUEUE_GROUPS(QUEUE_GROUPS)) lane_i (
                    .clk(clk), .reset(reset), .start(start), .count(count), .width(job_width),
                    .use_table(job_use_table), .table_write(table_write),
                    .table_index(table_index), .table_values(table_values),
                    .word_valid(word_valid[lane]), .word_ready(lane_ready[lane]),
                    .word(words[lane*64 +: 64]), .group_valid(group_valid[lane]),
                    .group_ready(write[lane]), .group(write_groups[lane*128 +: 128]),
                    .group_count(write_counts[lane*5 +: 5]), .idle_next(idle_next[lane])
                );
            end
        end
    endgenerate
endmodule
