// The words of a block, handed to the lanes in demand order: step by step, and in a step lane by
// lane, whichever lanes hold less than 32 bits after as many tokens.  The mux waits for a lane that
// has not got so far, and for a word; in a cycle it goes through LANES * 2 decisions at most.
//
// A lane that has words to come tells how many tokens it is beyond the step at hand, plus one
// (`leads`), and the same of the token count at which it came to ask.

module word_mux #(
    parameter LANES = 4,
    parameter BUS_WORDS = 4,
    parameter BUFFER_BEATS = 2,
    parameter IN_ORDER = 1  // 0: a planted error, lanes get words as soon as they ask
) (
    input  wire                    clk,
    input  wire                    clear,
    input  wire                    bus_valid,
    output wire                    bus_ready,
    input  wire [BUS_WORDS*32-1:0] bus_data,
    input  wire [LANES-1:0]        wants,
    input  wire [LANES-1:0]        asks,
    input  wire [LANES*6-1:0]      ask_leads,
    input  wire [LANES*6-1:0]      leads,
    output reg  [LANES-1:0]        gets,
    output reg  [LANES*32-1:0]     words,
    output reg  [1:0]              passed  // steps
);
    localparam LANE_BITS = (LANES > 1) ? $clog2(LANES) : 1;
    localparam BUFFER_WORDS = BUS_WORDS * BUFFER_BEATS;

    reg [BUFFER_WORDS*32-1:0] buffer;
    reg [7:0] waiting;
    reg [LANE_BITS-1:0] first;

    integer step, lane, handed, after;
    reg [LANE_BITS-1:0] next_first;
    reg [LANES*8-1:0] places;
    reg is_asked, is_behind, is_turn, stops;

    assign bus_ready = waiting <= 8'(BUFFER_WORDS - BUS_WORDS);
    wire push = bus_valid && bus_ready;

    always @(*) begin
        gets = 0;
        places = 0;
        handed = 0;
        stops = 1'b0;
        next_first = first;
        passed = 0;
        for (step = 0; step < 3; step = step + 1)
            for (lane = 0; lane < LANES; lane = lane + 1) begin
                is_turn = step == 1 || (step == 0) == (lane >= 32'(first));
                is_asked = wants[lane] && asks[lane] && !gets[lane]
                    && (IN_ORDER == 0 || ask_leads[lane*6 +: 6] == 6'(step) + 6'd1);
                is_behind = IN_ORDER != 0 && wants[lane] && leads[lane*6 +: 6] < 6'(step) + 6'd1;
                if (is_turn && !stops) begin
                    stops = is_asked ? handed == BUS_WORDS || handed == 32'(waiting) : is_behind;
                    if (stops) next_first = LANE_BITS'(lane);
                    else if (is_asked) begin
                        gets[lane] = 1'b1;
                        places[lane*8 +: 8] = 8'(handed);
                        handed = handed + 1;
                    end
                    if (!stops && lane == LANES - 1 && IN_ORDER != 0) passed = passed + 1'b1;
                end
            end
        for (lane = 0; lane < LANES; lane = lane + 1)
            words[lane*32 +: 32] = buffer[32'(places[lane*8 +: 8])*32 +: 32];
        after = 32'(waiting) - handed;
    end

    always @(posedge clk)
        if (clear) begin
            waiting <= 0;
            first <= 0;
        end else begin
            first <= next_first;
            waiting <= 8'(after) + (push ? 8'(BUS_WORDS) : 8'd0);
            buffer <= (buffer >> (32 * handed))
                | (push ? (BUFFER_WORDS*32)'(bus_data) << (32 * after) : 0);
        end
endmodule
