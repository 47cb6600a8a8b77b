// Decoder of lane_tans: lanes, the word mux that feeds them in demand order, and the write port.
//
// Software reads the payload's header (`azsim.codecs.lane_tans`) and writes, before the job: the
// tables' entries, the contexts of rows and columns, and for each lane its words, odd bits and
// first group.  The bus then brings the block's words from the first one on, BUS_WORDS a beat; what
// follows the last word in its beat is not used.  All forms are decoded: flags, masks, values,
// signs in symbols or raw, dead zones, 128 to 1,024 states, any number of lanes up to LANES.  An
// all-zero block, which has no payload, is a job of flags whose only state says 0 and has no bits.
//
// Not here: a check that the stream is sound (a block's checksum was checked before), and a second
// set of tables and contexts to be written while a job runs.
//
// A job is taken in cycle t, words from t + 1; job_done is in the cycle of the last write.

module tans_decoder #(
    parameter LANES = 4,
    parameter PORT_CODES = 64,
    parameter QUEUE_GROUPS = 8,
    parameter BUS_WORDS = 4,
    parameter BUFFER_BEATS = 2,
    parameter HOLD_WORDS = 2,
    parameter IN_ORDER = 1,
    parameter ROW_BITS = 12,
    parameter PLACE_BITS = 8
) (
    input  wire                        clk,
    input  wire                        reset,
    // Before the job.
    input  wire                        table_write,
    input  wire [10:0]                 table_index,
    input  wire [25:0]                 table_entry,
    input  wire                        row_write,
    input  wire [ROW_BITS-1:0]         row_index,
    input  wire [21:0]                 row_context,
    input  wire                        column_write,
    input  wire [PLACE_BITS-1:0]       column_index,
    input  wire [104:0]                column_context,
    input  wire                        lane_write,
    input  wire [5:0]                  lane_index,
    input  wire [19:0]                 lane_words,
    input  wire [4:0]                  lane_bits,
    input  wire [30:0]                 lane_odd,
    input  wire [ROW_BITS:0]           lane_row,
    input  wire [PLACE_BITS-1:0]       lane_place,
    // The job; what it says holds until it is done.
    input  wire                        job_valid,
    output wire                        job_ready,
    input  wire [3:0]                  job_log,
    input  wire [6:0]                  job_lanes,
    input  wire [ROW_BITS:0]           job_rows,
    input  wire [PLACE_BITS:0]         job_per_row,
    input  wire [4:0]                  job_tail,
    input  wire [6:0]                  job_step_rows,
    input  wire [PLACE_BITS-1:0]       job_step_places,
    input  wire                        job_has_flags,
    input  wire                        job_has_masks,
    input  wire                        job_has_values,
    input  wire [125:0]                job_ends,
    input  wire [11:0]                 job_first_tables,
    output wire                        job_done,
    input  wire                        bus_valid,
    output wire                        bus_ready,
    input  wire [BUS_WORDS*32-1:0]     bus_data,
    output wire [LANES-1:0]            write,
    output wire [LANES*128-1:0]        write_groups,
    output wire [LANES*5-1:0]          write_counts,
    output wire [LANES*(ROW_BITS+1)-1:0] write_rows,
    output wire [LANES*PLACE_BITS-1:0] write_places
);
    reg busy;
    wire start = job_valid && job_ready;
    wire [1:0] first_kind = job_has_flags ? 2'd0 : job_has_masks ? 2'd1 : 2'd2;
    wire [LANES-1:0] wants, asks, gets, group_valid, idle_next;
    wire [LANES*6-1:0] leads, ask_leads;
    wire [LANES*32-1:0] words;
    wire [1:0] passed;
    wire mux_ready;
    wire [LANES*11-1:0] indices;
    wire [LANES*26-1:0] entries;
    wire [LANES*ROW_BITS-1:0] context_rows;
    wire [LANES*PLACE_BITS-1:0] context_places;
    wire [LANES*22-1:0] row_contexts;
    wire [LANES*105-1:0] column_contexts;
    wire [LANES*8-1:0] banks;

    assign job_ready = !busy;
    assign job_done = busy && (&idle_next);
    assign bus_ready = busy && mux_ready;

    always @(posedge clk)
        if (reset) busy <= 1'b0;
        else busy <= start || (busy && !job_done);

    word_mux #(
        .LANES(LANES), .BUS_WORDS(BUS_WORDS), .BUFFER_BEATS(BUFFER_BEATS), .IN_ORDER(IN_ORDER)
    ) mux (
        .clk(clk), .clear(!busy), .bus_valid(bus_valid), .bus_ready(mux_ready),
        .bus_data(bus_data), .wants(wants), .asks(asks), .ask_leads(ask_leads), .leads(leads),
        .gets(gets), .words(words), .passed(passed)
    );

    write_port #(.LANES(LANES), .PORT_CODES(PORT_CODES), .BANK_BITS(8)) port (
        .clk(clk), .clear(!busy), .group_valid(group_valid), .counts(write_counts),
        .banks(banks), .write(write)
    );

    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            assign banks[lane*8 +: 8] = lane;  // a bank for each lane: no conflicts here
            tans_lane #(
                .QUEUE_GROUPS(QUEUE_GROUPS), .HOLD_WORDS(HOLD_WORDS), .ROW_BITS(ROW_BITS),
                .PLACE_BITS(PLACE_BITS)
            ) lane_i (
                .clk(clk), .reset(reset), .start(start), .setup(lane_write && lane_index == lane),
                .setup_lane(lane_index), .setup_words(lane_words), .setup_bits(lane_bits),
                .setup_odd(lane_odd), .setup_row(lane_row), .setup_place(lane_place),
                .log(job_log), .lanes(job_lanes), .rows(job_rows), .per_row(job_per_row),
                .tail(job_tail), .step_rows(job_step_rows), .step_places(job_step_places),
                .first_kind(first_kind), .has_masks(job_has_masks),
                .has_values(job_has_values), .ends(job_ends), .first_tables(job_first_tables),
                .table_index(indices[lane*11 +: 11]), .entry(entries[lane*26 +: 26]),
                .context_row(context_rows[lane*ROW_BITS +: ROW_BITS]),
                .context_place(context_places[lane*PLACE_BITS +: PLACE_BITS]),
                .row_context(row_contexts[lane*22 +: 22]),
                .column_context(column_contexts[lane*105 +: 105]), .wants(wants[lane]),
                .asks(asks[lane]), .ask_lead(ask_leads[lane*6 +: 6]), .lead(leads[lane*6 +: 6]),
                .gets(gets[lane]), .word(words[lane*32 +: 32]), .passed(passed),
                .group_valid(group_valid[lane]), .group_ready(write[lane]),
                .group(write_groups[lane*128 +: 128]), .group_count(write_counts[lane*5 +: 5]),
                .group_row(write_rows[lane*(ROW_BITS+1) +: ROW_BITS+1]),
                .group_place(write_places[lane*PLACE_BITS +: PLACE_BITS]),
                .idle_next(idle_next[lane])
            );
        end
        // A memory has two ports: a copy for each two lanes.
        for (lane = 0; lane < LANES; lane = lane + 2) begin : copies
            localparam PORTS = (lane + 1 < LANES) ? 2 : 1;
            tans_tables #(.PORTS(PORTS)) tables (
                .clk(clk), .write(table_write), .write_index(table_index),
                .write_entry(table_entry), .indices(indices[lane*11 +: PORTS*11]),
                .entries(entries[lane*26 +: PORTS*26])
            );
            tans_contexts #(
                .PORTS(PORTS), .ROW_BITS(ROW_BITS), .PLACE_BITS(PLACE_BITS)
            ) contexts (
                .clk(clk), .row_write(row_write), .row_index(row_index),
                .row_context(row_context), .column_write(column_write),
                .column_index(column_index), .column_context(column_context),
                .rows(context_rows[lane*ROW_BITS +: PORTS*ROW_BITS]),
                .places(context_places[lane*PLACE_BITS +: PORTS*PLACE_BITS]),
                .row_contexts(row_contexts[lane*22 +: PORTS*22]),
                .column_contexts(column_contexts[lane*105 +: PORTS*105])
            );
        end
    endgenerate
endmodule
