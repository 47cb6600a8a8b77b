// A lane of the lane_tans decoder: a token a cycle, while it holds the token's bits.
//
// The window is a FIFO of HOLD_WORDS words: the lane asks for a word when it holds less than all
// but one of them, and gets it before it has used up what it held then.  The first token's state
// comes from the window, each other's from the token before; context, class, table and state give
// the entry.  Contexts of the group that comes next lie ready when a group ends.

module tans_lane #(
    parameter QUEUE_GROUPS = 8,
    parameter HOLD_WORDS = 2,
    parameter ROW_BITS = 12,
    parameter PLACE_BITS = 8
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  start,
    // Before the job: words to come, the odd bits that come before them, the first group.
    input  wire                  setup,
    input  wire [5:0]            setup_lane,
    input  wire [19:0]           setup_words,
    input  wire [4:0]            setup_bits,
    input  wire [30:0]           setup_odd,
    input  wire [ROW_BITS:0]     setup_row,
    input  wire [PLACE_BITS-1:0] setup_place,
    // The block's form, unchanged while a job runs.
    input  wire [3:0]            log,
    input  wire [6:0]            lanes,
    input  wire [ROW_BITS:0]     rows,
    input  wire [PLACE_BITS:0]   per_row,
    input  wire [4:0]            tail,
    input  wire [6:0]            step_rows,
    input  wire [PLACE_BITS-1:0] step_places,
    input  wire [1:0]            first_kind,
    input  wire                  has_masks,
    input  wire                  has_values,
    input  wire [125:0]          ends,         // sums at which 7 classes end, for each kind
    input  wire [11:0]           first_tables,
    // Tables and contexts.
    output wire [10:0]           table_index,
    input  wire [25:0]           entry,
    output wire [ROW_BITS-1:0]   context_row,
    output wire [PLACE_BITS-1:0] context_place,
    input  wire [21:0]           row_context,
    input  wire [104:0]          column_context,
    // Word mux.
    output wire                  wants,
    output reg                   asks,
    output reg  [5:0]            ask_lead,
    output reg  [5:0]            lead,
    input  wire                  gets,
    input  wire [31:0]           word,
    input  wire [1:0]            passed,
    // Write port.
    output wire                  group_valid,
    input  wire                  group_ready,
    output wire [127:0]          group,
    output wire [4:0]            group_count,
    output wire [ROW_BITS:0]     group_row,
    output wire [PLACE_BITS-1:0] group_place,
    output wire                  idle_next
);
    /* verilator no_inline_module */  // one compiled body for all lanes
    localparam MASK = 2'd1, VALUE = 2'd2;  // 0: a flag
    localparam WINDOW = 32 * HOLD_WORDS;

    reg running, loading, is_first;
    reg [WINDOW-1:0] window;
    reg [7:0] held;
    reg [19:0] left;
    reg [9:0] state;
    reg [1:0] kind;
    reg [3:0] at, mask_left;  // code of the group at hand; ones whose values are to come
    reg [4:0] size;           // codes of the group
    reg [21:0] row_codes;
    reg [104:0] column_codes;
    reg [127:0] partial;
    wire room, empty_next;

    // Context, class, table, entry.
    wire [4:0] row_code = row_codes[kind*5 +: 5];
    wire [4:0] column = kind == VALUE ? 5'd5 + 5'(at) : kind == MASK ? 5'd1 + 5'(at[3:2]) : 5'd0;
    wire [5:0] sum = 6'(row_code) + 6'(column_codes[column*5 +: 5]);
    reg [3:0] table_at;
    integer i;
    always @(*) begin
        table_at = first_tables[kind*4 +: 4];
        for (i = 0; i < 7; i = i + 1)
            table_at = table_at + 4'(ends[32'(kind)*42 + i*6 +: 6] <= sum);
    end
    wire [9:0] first_state = window[9:0] & 10'((11'd1 << log) - 11'd1);
    assign table_index = (11'(table_at) << log) | {1'b0, is_first ? first_state : state};
    wire [9:0] base = entry[9:0];
    wire [3:0] more = entry[13:10];
    wire [2:0] raw_bits = entry[16:14];
    wire has_sign = entry[17];
    wire says_minus = entry[18];
    wire [6:0] least = entry[25:19];

    // Bits: a first state, raw bits, bits of the next state.
    wire [WINDOW-1:0] after_state = is_first ? window >> log : window;
    wire [WINDOW-1:0] after_raw = after_state >> raw_bits;
    wire [6:0] raw = after_state[6:0] & 7'((8'd1 << raw_bits) - 8'd1);
    wire [9:0] added = after_raw[9:0] & 10'((11'd1 << more) - 11'd1);
    wire [7:0] need = (is_first ? 8'(log) : 8'd0) + 8'(raw_bits) + (is_last ? 8'd0 : 8'(more));

    // What the token is.
    wire [3:0] mask = least[3:0];
    wire [3:0] rest = mask_left & (mask_left - 4'd1);
    wire [7:0] plain = 8'(least) + {1'b0, raw >> has_sign};
    wire [7:0] amount = plain == 0 ? 8'd0 : plain + 8'(row_codes[21:15]);
    wire minus = says_minus || (has_sign && raw[0]);
    reg [31:0] placed;
    reg [1:0] next_kind;
    reg [3:0] next_mask;
    reg [4:0] next_at;  // 16 or more, or the group's size: the group is at an end
    reg [3:0] signs;
    always @(*) begin
        placed = 0;
        next_kind = kind;
        next_mask = 0;
        next_at = 5'd16;
        signs = raw[3:0];
        if (kind == VALUE) begin
            placed[7:0] = minus ? -amount : amount;
            next_mask = rest;
            next_at = !has_masks ? 5'(at) + 5'd1
                : rest == 0 ? {{1'b0, at[3:2]} + 3'd1, 2'b0} : {1'b0, at[3:2], lowest(rest)};
            if (has_masks && rest == 0) next_kind = MASK;
        end else if (kind == MASK) begin
            next_at = {{1'b0, at[3:2]} + 3'd1, 2'b0};
            if (!has_values) begin
                for (i = 0; i < 4; i = i + 1)
                    if (mask[i]) begin
                        placed[i*8 +: 8] = signs[0] ? 8'hff : 8'h01;
                        signs = signs >> 1;
                    end
            end else if (mask != 0) begin
                next_kind = VALUE;
                next_mask = mask;
                next_at = {1'b0, at[3:2], lowest(mask)};
            end
        end else if (least[0]) begin
            next_kind = has_masks ? MASK : VALUE;
            next_at = 5'd0;
        end
    end
    wire [127:0] codes = partial | (128'(placed) << {at, 3'b0});
    wire ends_group = next_at >= size;
    wire is_last = ends_group && next_row >= rows;
    wire advance = running && !loading && held >= need && (!ends_group || room)
        && (!wants || lead < 6'd63);
    wire fetch = loading || (advance && ends_group);

    // The group after the one at hand.
    wire [ROW_BITS:0] next_row;
    wire [PLACE_BITS-1:0] next_place;
    assign context_row = next_row[ROW_BITS-1:0];
    assign context_place = next_place;
    group_walk #(.ROW_BITS(ROW_BITS), .PLACE_BITS(PLACE_BITS)) ahead (
        .clk(clk), .load(setup), .load_lane(setup_lane), .load_row(setup_row),
        .load_place(setup_place), .step(fetch), .lanes(lanes), .per_row(per_row),
        .step_rows(step_rows), .step_places(step_places), .row(next_row), .place(next_place)
    );

    group_queue #(.DEPTH(QUEUE_GROUPS)) queue (
        .clk(clk), .reset(reset), .push(advance && ends_group), .push_group(codes),
        .push_count(size), .room(room), .empty_next(empty_next), .group_valid(group_valid),
        .group_ready(group_ready), .group(group), .group_count(group_count)
    );
    group_walk #(.ROW_BITS(ROW_BITS), .PLACE_BITS(PLACE_BITS)) written (
        .clk(clk), .load(setup), .load_lane(setup_lane), .load_row(setup_row),
        .load_place(setup_place), .step(group_ready), .lanes(lanes), .per_row(per_row),
        .step_rows(step_rows), .step_places(step_places), .row(group_row), .place(group_place)
    );

    // Window and requests.
    wire [7:0] kept = advance ? held - need : held;
    wire [7:0] held_next = kept + (gets ? 8'd32 : 8'd0);
    wire [5:0] lead_next = lead + 6'(advance) - 6'(passed);
    wire [WINDOW-1:0] used = advance ? after_raw >> more : window;
    wire still_asks = asks && !gets;
    assign wants = left != 0;
    assign idle_next = !running && empty_next;

    always @(posedge clk)
        if (reset) running <= 1'b0;
        else if (setup) begin
            window <= WINDOW'(setup_odd);
            held <= 8'(setup_bits);
            left <= setup_words;
        end else if (start) begin
            running <= next_row < rows;
            loading <= next_row < rows;
            is_first <= 1'b1;
            asks <= wants;
            ask_lead <= 6'd1;
            lead <= 6'd1;
        end else begin
            loading <= 1'b0;
            if (advance) begin
                state <= base + added;
                is_first <= 1'b0;
                kind <= next_kind;
                mask_left <= next_mask;
                at <= next_at[3:0];
                partial <= codes;
                if (is_last) running <= 1'b0;
            end
            if (fetch) begin
                row_codes <= row_context;
                column_codes <= column_context;
                size <= {1'b0, next_place} + 1'b1 == per_row ? tail : 5'd16;
                kind <= first_kind;
                at <= 0;
                partial <= 0;
            end
            window <= used | (gets ? WINDOW'(word) << kept : 0);
            held <= held_next;
            left <= left - 20'(gets);
            lead <= lead_next;
            asks <= still_asks || (held_next + 8'd32 < 8'(WINDOW) && left != 20'(gets));
            ask_lead <= still_asks ? ask_lead - 6'(passed) : lead_next;
        end

    function [1:0] lowest(input [3:0] ones);  // of four, of which one is set
        lowest = ones[0] ? 2'd0 : ones[1] ? 2'd1 : {1'b1, !ones[2] && ones[3]};
    endfunction
endmodule
