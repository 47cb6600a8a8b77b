// DRAM behind one bus, in the role of a test bench: three channels share it burst by burst.
//
// Times are in ticks, of which a clock cycle has `ticks`; all else is counted in them, so that a
// burst need not take whole cycles (but at least one).  A request of cycle t is ready `latency`
// after t.  When the bus is free, the channel whose turn it is goes first among those with a ready
// request.  Rows go round the banks, each of which has a register for the row that it has open; a
// burst that opens another one takes `row_miss` more.  A refresh is due each `refresh_every`; it
// waits for the burst under way, and then takes the bus for `refresh`.
// `data_valid` says in cycle t that a burst has ended in the cycle before, or just at t.

module memory #(
    parameter CHANNELS = 3,
    parameter REQUESTS = 64,
    parameter BANKS = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [31:0]            ticks,
    input  wire [31:0]            burst,
    input  wire [31:0]            latency,
    input  wire [31:0]            row_bursts,
    input  wire [31:0]            row_miss,
    input  wire [31:0]            refresh_every,
    input  wire [31:0]            refresh,
    input  wire                   refresh_closes_rows,
    input  wire [CHANNELS-1:0]    request_valid,
    output wire [CHANNELS-1:0]    request_ready,
    input  wire [CHANNELS*32-1:0] request_burst,
    input  wire                   stall,
    output reg  [CHANNELS-1:0]    data_valid,
    output reg  [CHANNELS*32-1:0] data_burst
);
    localparam [63:0] NEVER = ~64'd0;
    localparam SLOT_BITS = $clog2(CHANNELS * REQUESTS);
    localparam NUMBER_BITS = BANKS > 1 ? $clog2(BANKS) : 1;

    reg [63:0] now, window_end, bus_free, next_refresh, earliest, at, begins, ends;
    reg [31:0] open_row [0:BANKS-1];
    reg [31:0] row;
    reg [NUMBER_BITS-1:0] bank;
    reg [63:0] ready_at [0:CHANNELS*REQUESTS-1];
    reg [63:0] ends_at [0:CHANNELS*REQUESTS-1];
    reg [31:0] number [0:CHANNELS*REQUESTS-1];
    // Requests accepted, begun and ended on each channel.
    reg [31:0] asked [0:CHANNELS-1];
    reg [31:0] begun [0:CHANNELS-1];
    reg [31:0] ended [0:CHANNELS-1];
    integer b, c, turn, chosen, step;
    reg [SLOT_BITS-1:0] slot;

    assign request_ready = stall ? 0 : {CHANNELS{1'b1}};

    // Everything of one cycle happens in its order, so assignments here are blocking ones.
    /* verilator lint_off BLKSEQ */
    always @(posedge clk)
        if (reset) begin
            now = 0;
            bus_free = 0;
            for (b = 0; b < BANKS; b = b + 1) open_row[b] = ~32'd0;
            turn = 0;
            data_valid <= 0;
            for (c = 0; c < CHANNELS; c = c + 1) begin
                asked[c] = 0;
                begun[c] = 0;
                ended[c] = 0;
            end
            next_refresh = refresh_every == 0 ? NEVER : {32'd0, refresh_every};
        end else begin
            window_end = now + {32'd0, ticks};
            for (c = 0; c < CHANNELS; c = c + 1)
                if (request_valid[c] && request_ready[c]) begin
                    slot = SLOT_BITS'(c * REQUESTS + asked[c] % REQUESTS);
                    ready_at[slot] = now + {32'd0, latency};
                    number[slot] = request_burst[c*32 +: 32];
                    asked[c] = asked[c] + 1;
                end
            for (step = 0; step < 3; step = step + 1) begin
                earliest = NEVER;
                for (c = 0; c < CHANNELS; c = c + 1)
                    if (asked[c] != begun[c]) begin
                        slot = SLOT_BITS'(c * REQUESTS + begun[c] % REQUESTS);
                        if (ready_at[slot] < earliest) earliest = ready_at[slot];
                    end
                at = earliest > bus_free ? earliest : bus_free;
                begins = next_refresh > bus_free ? next_refresh : bus_free;
                if (next_refresh <= at && next_refresh != NEVER) begin
                    if (begins < window_end) begin
                        bus_free = begins + {32'd0, refresh};
                        next_refresh = next_refresh + {32'd0, refresh_every};
                        if (refresh_closes_rows)
                            for (b = 0; b < BANKS; b = b + 1) open_row[b] = ~32'd0;
                    end
                end else if (earliest != NEVER && at < window_end) begin
                    chosen = -1;
                    for (c = CHANNELS - 1; c >= 0; c = c - 1) begin
                        slot = SLOT_BITS'(((turn + c) % CHANNELS) * REQUESTS
                            + begun[(turn + c) % CHANNELS] % REQUESTS);
                        if (asked[(turn + c) % CHANNELS] != begun[(turn + c) % CHANNELS]
                            && ready_at[slot] <= at) chosen = (turn + c) % CHANNELS;
                    end
                    slot = SLOT_BITS'(chosen * REQUESTS + begun[chosen] % REQUESTS);
                    row = number[slot] / row_bursts;
                    bank = NUMBER_BITS'(row % BANKS);
                    ends = at + {32'd0, burst};
                    if (row != open_row[bank]) ends = ends + {32'd0, row_miss};
                    open_row[bank] = row;
                    bus_free = ends;
                    ends_at[slot] = ends;
                    begun[chosen] = begun[chosen] + 1;
                    turn = (chosen + 1) % CHANNELS;
                end
            end
            for (c = 0; c < CHANNELS; c = c + 1) begin
                slot = SLOT_BITS'(c * REQUESTS + ended[c] % REQUESTS);
                data_valid[c] <= ended[c] != begun[c] && ends_at[slot] <= window_end;
                data_burst[c*32 +: 32] <= number[slot];
                if (ended[c] != begun[c] && ends_at[slot] <= window_end) ended[c] = ended[c] + 1;
            end
            now = window_end;
        end
    /* verilator lint_on BLKSEQ */
endmodule
